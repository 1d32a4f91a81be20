import pytest

from tmem.english import (
    ASKED_BACK,
    agrees,
    asks_of_oneself,
    goes_on,
    leans,
    means_another,
    said_before,
    speaks_of,
    wants,
)


@pytest.mark.parametrize(
    "message",
    [
        "No, it is on Friday.",
        "Not any more, it is Denise now.",
        "That's wrong, it's Bruno.",
        "It was moved to 5 June.",
        "Pottery.",
        "Peanuts and shellfish.",
        "To Norway, with my cousin.",
        "No, at 8:15.",
        "She is in St. Mary's.",
        "Karen sold it.",
        "I painted it yellow.",
        "I want one too.",
        "I have lived there since May.",
        "Yes.",
        "I meant Friday, not Thursday.",
        "Unfortunately she moved to Bath.",
    ],
)
def test_a_part_of_a_sentence_and_one_that_points_at_another_lean_on_what_was_before(message: str) -> None:
    assert leans(message)


@pytest.mark.parametrize(
    "message",
    [
        "I see Dr. Miller on Friday.",
        "I retired.",
        "The rent is $1,300 now.",
        "My sister Ana has two cats. They are called Miso and Tofu.",
        "I bought a lamp and it cost 60 dollars.",
        "Nina said she is moving to Bath.",
        "My parents sold their house in Bath.",
        "I think that our neighbours are from Malta.",
        "This year I run the Berlin marathon.",
        "In May my sister Greta gets married.",
        "There is a spare key at my neighbour's.",
        "I moved to Ghent last year.",
        "On Mondays I play tennis.",
        "To be honest I hate mushrooms.",
        "Oh, my brother opened a pub.",
        "Right now I live in Bath.",
        "Who wrote Hamlet?",
        "How long does it take to boil an egg?",
    ],
)
def test_what_says_itself_what_it_means_does_not(message: str) -> None:
    assert not leans(message)


def test_a_reply_may_say_itself_what_it_means() -> None:
    for message in ("No, the rent is $1,300 now.", "Actually, my daughter starts kindergarten on Monday."):
        assert leans(message) and not means_another(message)
    assert means_another("No, it is on Friday.") and means_another("Pottery.")
    assert all(map(agrees, ("Absolutely!", "Oh yes.", "I do."))) and not agrees("Right now I live in Bath.")
    assert agrees("Yes, exactly.") and agrees("that's right") and not agrees("No, on Friday")


def test_what_was_asked_is_answered_by_what_comes_next() -> None:
    assert leans("Two cats and a dog.", "user: Hi\nassistant: What pets do you have?")
    assert leans("I do have two cats, a dog and a parrot.", f"{ASKED_BACK}What pets do I have?")
    assert not leans("I have two cats and a dog.", "user: Hi\nassistant: How can I help you?")
    assert not leans("Two cats and a dog live here.", "user: Hi\nassistant: Good morning.")


def test_an_answer_of_which_nothing_was_said_now_was_said_before() -> None:
    before = "user: When do I see the dentist?\nassistant: On 4 May, at 7:40."
    assert said_before("4 May", before, "No, it is on 11 June.") and said_before("7:40", before, "No, at 8:15.")
    assert not said_before("11 May", before, "No, it is on 11 May.")  # a word of it is new
    assert not said_before("the vet", before, "It is the vet.") and not said_before("?", before, "?")


def test_a_question_about_who_speaks_is_no_request() -> None:
    for question in (
        "When is my birthday?",
        "Where do I live?",
        "What is our dog called?",
        "Could you remind me where I work?",
    ):
        assert asks_of_oneself(question)
    for question in (
        "What should I cook tonight?",
        "How long do I boil an egg?",
        "Do I need a visa for Japan?",
        "How big is our solar system?",
        "Who sings My Way?",
        "How do I fix my bike?",
        "Can you help me with my essay?",
        "What is the capital of Italy?",
        "Who wrote Hamlet?",
    ):
        assert not asks_of_oneself(question)


def test_a_question_speaks_of_a_text_whose_words_it_has() -> None:
    assert speaks_of("When does the flight leave?", "My flight to Oslo is at nine.")
    assert not speaks_of("What should I cook tonight?", "What should I wear?")


def test_what_asks_for_more_goes_on() -> None:
    assert goes_on("Give me three more.") and goes_on("And of Italy?") and goes_on("What did you mean by that?")
    assert (
        not goes_on("What should I cook tonight?")
        and not goes_on("I don't like coffee any more.")
        and not goes_on("My son Theo turned six on Saturday.")
    )


def test_what_wants_something_does_not_only_tell() -> None:
    for message in (
        "I just moved to Lisbon. Recommend me a restaurant",
        "I have an interview on Friday, I need some advice.",
        "Sing me a song.",
        "why is the sky blue",
        "I love pancakes, any ideas for breakfast",
        "Okay, now write a haiku about my cat Miso.",
    ):
        assert wants(message)
    for message in (
        "I just moved to Lisbon, and I work as a nurse.",
        "No, the rent is $1,300 now.",
        "My son gave me a bike, which I use to write at the lake.",
        "Pottery.",
        "so, " * 20_000,  # read once, however long it is
    ):
        assert not wants(message)
