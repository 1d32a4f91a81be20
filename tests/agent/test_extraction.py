import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmem.agent.extraction import Extraction, QAPair, filter_pairs, parse, places
from tmem.files import without_surrogates

A = '{"instruction": "Who has two cats?", "output": "Ana"}'
B = '{"instruction": "What colour is the kayak?", "output": "red"}'
PAIR_A = QAPair("Who has two cats?", "Ana")
PAIR_B = QAPair("What colour is the kayak?", "red")


@pytest.mark.parametrize(
    "text",
    [
        f"[{A}, {B}]",
        f"Here are the pairs [from session 1]:\n```json\n[\n  {A},\n  {B},\n]\n```\nI hope {{this}} helps.",
        f"[{A} {B}]",
        f"[{A[:-1]}, }}, {B}]",
        f"[{A[:-1]} , \n }}, {B}]",
        f"[{A}]\nAnd one more:\n[{B}]",
        f"[[{A}], [{B}]]",
        f"If there were none I would write []. There are: [{A}, {B}]",
        f'[{A}, {B[:-1]}, "source": {{"turn": 3}}}}]',
    ],
)
def test_complete_arrays_are_ok(text: str):
    extraction = parse(text)
    assert (extraction.status, extraction.pairs, extraction.dropped) == ("ok", [PAIR_A, PAIR_B], [])


@pytest.mark.parametrize(
    ("text", "truncated", "status", "pairs", "drops"),
    [
        ("[]", False, "empty", 0, 0),
        ("[]", True, "empty", 0, 0),
        ("```json\n[\n]\n```", False, "empty", 0, 0),
        ("", False, "no_array", 0, 0),
        ("There is nothing to remember [1].", False, "no_array", 0, 0),
        ("Let me think", True, "truncated", 0, 0),
        ("[", True, "truncated", 0, 0),
        ("[" + A[:-5], True, "truncated", 0, 1),
        ("[" + A[:-5], False, "truncated", 0, 1),
        ('[{"instruction": "What is [1]', False, "truncated", 0, 1),
        (f"[{A}, {B}", False, "partial", 2, 0),
        (f"[{A}, {B[:-9]}", True, "partial", 1, 1),
        (f"{A}\n{B}", False, "partial", 2, 0),
        (f"[{A[:-2]}, {B}]", False, "partial", 1, 1),  # A's closing quote is lost
        (f"[{A.replace('two', chr(34))}, {B}]", False, "partial", 1, 1),
        (f'[{A}, "and", {B}]', False, "partial", 2, 1),
        (f'[{A}, {{"instruction": "How many?", "output": 2}}]', False, "partial", 1, 1),
        ('[{"question": "Who?", "answer": "Ana"}] as asked', False, "bad_schema", 0, 1),
        ('["Who has cats? Ana"]', False, "bad_schema", 0, 1),
        ("[{'instruction': 'Who?', 'output': 'Ana'}] as asked", False, "bad_json", 0, 1),
        ('[{"instruction" "Who?"}]', True, "bad_json", 0, 1),
    ],
)
def test_statuses(text: str, truncated: bool, status: str, pairs: int, drops: int):
    extraction = parse(text, truncated)
    assert (extraction.status, len(extraction.pairs), len(extraction.dropped)) == (status, pairs, drops)
    assert extraction.found == pairs + drops


def test_what_is_so_now_is_what_is_asked_for():
    [pair] = parse('[{"instruction": "Where do I live now?", "output": "Porto"}]').pairs
    assert pair == QAPair("Where do I live?", "Porto")
    [pair] = parse('[{"instruction": "Where do I stay for now?", "output": "Porto"}]').pairs
    assert pair.question == "Where do I stay for now?"
    [pair] = parse('[{"instruction": "What is on now, and where?", "output": "Hamlet"}]').pairs
    assert pair.question == "What is on now, and where?"


def test_drops_carry_reason_and_text():
    (drop,) = parse('[{"instruction": "How many?", "output": 2}]').dropped
    assert drop.reason == "no string under 'output'"
    assert drop.text == '{"instruction": "How many?", "output": 2}'
    (drop,) = parse(f"[{A}, {B[:-9]}").dropped
    assert "not valid JSON" in drop.reason
    assert drop.text == B[:-9]


def test_values_python_could_choke_on():
    digits = "9" * 5000  # an integer that int() refuses
    assert parse(f'[{{"instruction": {digits}, "output": "x"}}, {A}]').pairs == [PAIR_A]
    pair = parse(r'[{"instruction": "half \ud83d?", "output": "whole \ud83d\ude00"}]').pairs[0]
    assert pair == QAPair("half \ufffd?", "whole \U0001f600")
    assert parse(f"\ud800 [{A}]").pairs == [PAIR_A]


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "[",
            "{",
            '"',
            "[{",
            '{"',
            '{"a":',
            '[{"a":',
            '{"a":[1,',
            '{":',
            '{"a":"b",',
            '\\"',
            '{"\\"',
            "{'",
            " ",
        ),
        *("]", "},", "[{ ", '{"a":1,}', '{"instruction":"', '[{"instruction":"a","output":"b",'),
    ],
)
def test_large_junk_is_read_in_linear_time(piece: str, monkeypatch: pytest.MonkeyPatch):
    """Counts the characters that the decoder passes over, not the clock."""
    import tmem.agent.extraction as module

    read = 0
    decode = module._DECODER.raw_decode

    def counted(text: str, idx: int = 0):
        nonlocal read
        try:
            value, end = decode(text, idx)
        except json.JSONDecodeError as error:
            read += error.pos
            raise
        except RecursionError:
            read += len(text)
            raise
        read += end
        return value, end

    monkeypatch.setattr(module._DECODER, "raw_decode", counted)
    costs = []
    for size in (100_000, 200_000):
        read = 0
        text = (piece * size)[:size]
        extraction = parse(text)
        assert sum(len(drop.text) for drop in extraction.dropped) <= size
        costs.append(read)
    assert costs[1] <= 2.5 * costs[0] + 10
    assert costs[1] < 500 * 200_000


OBJECTS = st.builds(lambda q, a: {"instruction": q, "output": a}, st.text(max_size=30), st.text(max_size=30))


@given(st.text())
def test_any_text(text: str):
    extraction = parse(text)
    assert extraction.found == len(extraction.pairs) + len(extraction.dropped)
    Extraction.model_validate_json(extraction.model_dump_json())


@given(st.text(st.sampled_from("[]{}\",:\\' \nab"), max_size=200), st.booleans())
def test_any_text_of_json_characters(text: str, truncated: bool):
    extraction = parse(text, truncated)
    assert (extraction.status in ("ok", "partial")) == bool(extraction.pairs)


@given(st.lists(OBJECTS), st.booleans(), st.sampled_from([None, 2]))
def test_a_good_array_gives_all_its_pairs(objects: list[dict[str, str]], ascii_only: bool, indent: int):
    text = json.dumps(objects, ensure_ascii=ascii_only, indent=indent)
    extraction = parse(f"The pairs:\n```json\n{text}\n```\nDone.")
    assert extraction.status == ("ok" if objects else "empty")
    assert extraction.pairs == [QAPair(o["instruction"].strip(), o["output"].strip()) for o in objects]


def good_outputs() -> list[list[str]]:
    """Arrays as lists of objects' texts, with quotes, brackets and escapes inside the strings."""
    rng = random.Random(0)
    words = ["Ana", 'said "yes"', "[1]", "{x}", "a\\b", "caf\u00e9", "\U0001f600", "two\nlines", "}, {", "]"]
    return [
        [
            json.dumps({"instruction": f"Q{i}? " + rng.choice(words), "output": f"A{i} {rng.choice(words)}"})
            for i in range(rng.randint(1, 5))
        ]
        for _ in range(50)
    ]


def mutate(text: str, rng: random.Random) -> str:
    start, other = rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.choice([1, 1, 1, 2, 5, 20, 80]))
    match rng.choice(["delete", "insert", "swap", "truncate", "duplicate"]):
        case "delete":
            return text[:start] + text[end:]
        case "insert":
            return text[:start] + rng.choice([*"[]{}\",:\\'` \n0a", "```", "null", "\ud800"]) + text[start:]
        case "swap":
            return text[:start] + text[start:end][::-1] + text[end:]
        case "truncate":
            return text[:start]
        case _:
            return text[:other] + text[start:end] + text[other:]


def test_ten_thousand_mutations_lose_nothing_silently():
    rng = random.Random(1)
    outputs = good_outputs()
    saved = 0
    for _ in range(10_000):
        objects = rng.choice(outputs)
        text = "[" + rng.choice([", ", ",\n", ","]).join(objects) + "]"
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            text = mutate(text, rng)
        extraction = parse(text, truncated=rng.random() < 0.3)
        assert extraction.found == len(extraction.pairs) + len(extraction.dropped)
        extraction.model_dump_json()
        found = places(without_surrogates(text))
        assert [pair for pair, _, _ in found] == extraction.pairs
        assert all(text[start] == "{" and text[end - 1] == "}" for _, start, end in found)
        for intact in (item for item in objects if item in text):
            record = json.loads(intact)
            is_pair = QAPair(record["instruction"], record["output"]) in extraction.pairs
            assert is_pair or any(intact in drop.text for drop in extraction.dropped), text
            saved += is_pair
    assert saved > 10_000


def test_a_lost_or_added_character_costs_only_the_pair_it_stands_in():
    """Every deletion and every inserted quote, at every place of an array of four."""
    objects = [json.dumps({"instruction": f"Q{i}?", "output": f"A{i}"}) for i in range(4)]
    text = "[" + ", ".join(objects) + "]"
    for place in range(len(text)):
        for broken in (text[:place] + text[place + 1 :], text[:place] + '"' + text[place:]):
            intact = [item for item in objects if item in broken]
            pairs = [json.dumps(pair.record()) for pair in parse(broken).pairs]
            assert len(intact) >= 3
            assert set(intact) <= set(pairs)


def test_admit_refuses_with_reasons():
    history = [QAPair("Who has cats?", "Ana")]
    pairs = [
        QAPair("who  HAS cats?", "ana "),
        QAPair("Who has cats?", "Ben"),  # a correction
        QAPair("Who has cats?", "BEN"),
        QAPair(" ", "Ana"),
        QAPair("Where?", " "),
        QAPair("Where?", "where?"),
        QAPair("Where?", "At home"),
        QAPair("When?", "No information  available."),
    ]
    accepted, refused = filter_pairs(pairs, history)
    assert accepted == [pairs[1], pairs[6]]
    assert [drop.reason for drop in refused] == [
        "duplicate of an earlier pair",
        "duplicate of an earlier pair",
        "no question",
        "empty answer",
        "the answer repeats the question",
        "the answer says that there is none",
    ]
    assert json.loads(refused[1].text) == {"instruction": "Who has cats?", "output": "BEN"}
    assert len(history) == 1


def test_the_last_answer_to_a_question_in_one_reply_is_kept_and_the_others_are_listed() -> None:
    told = [QAPair("Job?", "baker"), QAPair("Pet?", "cat"), QAPair("job?", "pilot"), QAPair("Job?", "Pilot")]
    accepted, refused = filter_pairs(told, [])
    assert accepted == [QAPair("job?", "pilot"), QAPair("Pet?", "cat")]
    assert [drop.reason for drop in refused] == [
        "answered again later in the same reply",
        "duplicate of an earlier pair",
    ]
    assert filter_pairs([QAPair("Job?", "baker")], accepted)[0] == [QAPair("Job?", "baker")]  # back again: a correction


def test_a_draft_in_a_thought_becomes_no_pair() -> None:
    draft = json.dumps([{"instruction": "Who?", "output": "Bo"}])
    array = json.dumps([{"instruction": "Who?", "output": "Ana"}])
    for reply in (f"<think>{draft}, no</think>{array}", f"{draft}, no</think>\n{array}"):
        assert parse(reply).pairs == [QAPair("Who?", "Ana")]
    assert parse(f"<think>{draft}, no", truncated=True).status == "truncated"


def test_a_question_that_says_two_words_twice_in_a_row_is_dropped() -> None:
    told = [QAPair("What does Maria think ofine think ofine?", "loves it"), QAPair("What did he say?", "so so so so")]
    found = parse(json.dumps([pair.record() for pair in told]))
    assert [drop.reason for drop in found.dropped] == ["it repeats itself"] and found.pairs == told[1:]


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("What does Maria it it that Maria it it that Maria it it that?", True),
        ("ha " * 9, True),
        ("What does Maria it it that Maria it it that Maria it it?", True),
        ("no no no", False),
        ("Who sang New York New York, and who said that that was had had?", False),
        ("What did Maria say to Kevin, and what did Kevin say to Maria, when she saw the whale again?", False),
        ("She sells sea shells by the sea shore, and the shells that she sells are sea shells I am sure.", False),
    ],
)
def test_a_pair_that_repeats_itself_is_dropped(text: str, refused: bool) -> None:
    for pair in (QAPair(text, "yes"), QAPair("What?", text)):
        found = parse(json.dumps([pair.record()]))
        assert [drop.reason for drop in found.dropped] == ["it repeats itself"] * refused
        assert found.pairs == [QAPair(pair.question.strip(), pair.answer.strip())] * (not refused)
