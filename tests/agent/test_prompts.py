import json

import pytest

from tmem.agent.extraction import QAPair
from tmem.agent.prompts import PROMPTS

HISTORY = [QAPair("Who has cats?", "Ana, from Orl\u00e9ans")]
PAPER, COMPACT = PROMPTS["paper"], PROMPTS["compact"]


@pytest.mark.parametrize("name", ["paper", "compact"])
def test_sets_know_their_names(name: str):
    assert PROMPTS[name].name == name


def test_defaults():
    assert (PAPER.question_known, PAPER.official_questions) == (True, True)
    assert (COMPACT.question_known, COMPACT.official_questions) == (False, False)


def test_paper_extraction_shows_question_history_session_in_this_order():
    system, user = PAPER.extraction("DATE: today\nhello", "Who has dogs?", HISTORY)
    assert (system["role"], user["role"]) == ("system", "user")
    blocks = [
        "<question>\nWho has dogs?\n</question>",
        '<qa_history>\n[{"instruction": "Who has cats?", "output": "Ana, from Orl\u00e9ans"}]\n</qa_history>',
        "<session>\nDATE: today\nhello\n</session>",
    ]
    assert system["content"].endswith("\n\n".join(blocks))
    assert "ONLY in this session" in system["content"]
    required = [
        "empty array",
        "preferences, plans, events",
        "near-duplicates",
        "JSON array",
        '"instruction"',
        '"output"',
    ]
    assert [words for words in required if words not in user["content"]] == []


def test_paper_extraction_without_question_and_history():
    system, _ = PAPER.extraction("hello", None, [])
    assert "question>" not in system["content"]
    assert "problem" not in system["content"]
    assert "<qa_history>\n[]\n</qa_history>" in system["content"]


def test_paper_answer_ends_with_the_question():
    system, user = PAPER.answer("Who has cats?", "Ana said hi.")
    assert system["role"] == "system"
    assert user["content"].startswith("Ana said hi.\n\n")
    assert user["content"].endswith("Question: Who has cats?")
    _, alone = PAPER.answer("Who has cats?", "")
    assert user["content"] == "Ana said hi.\n\n" + alone["content"]


def test_compact_is_exactly_what_the_embedded_models_know():
    assert COMPACT.extraction("text", None, HISTORY) == [
        {"role": "system", "content": "text"},
        {"role": "user", "content": "Write question-answer pairs."},
    ]
    assert COMPACT.extraction("text", "Who?", [])[1]["content"] == "Write question-answer pairs for: Who?"
    assert COMPACT.answer("Who?", "text") == [
        {"role": "system", "content": "text"},
        {"role": "user", "content": "Who?"},
    ]
    assert COMPACT.answer("Who?", "") == [{"role": "user", "content": "Who?"}]


def test_messages_are_plain_json():
    for prompts in PROMPTS.values():
        messages = prompts.extraction("c", "q", HISTORY) + prompts.answer("q", "c")
        assert json.loads(json.dumps(messages)) == messages


def test_what_was_said_of_time_stands_as_dates_for_an_english_model() -> None:
    line = 'Maria said, "I saw a whale yesterday. My mother said, "I sang yesterday"."'
    text = f"DATE: 1:56 pm on 8 May, 2023\nCONVERSATION:\n{line}\nlast year\n\nDATE: some day\nyesterday"
    [read, asked] = PROMPTS["english"].extraction(text, None, ())
    dated = text.replace("whale yesterday", "whale yesterday (7 May 2023)").replace("last year", "last year (2022)")
    assert read["content"] == dated and asked["content"] == "Write question-answer pairs."
    assert PROMPTS["english"].answer("When?", text)[0]["content"] == dated
    assert COMPACT.extraction(text, None, ())[0]["content"] == text
