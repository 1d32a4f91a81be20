from tmem.english import asks_of_oneself, speaks_of


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
