"""Texts that are the same but for their look, and whose names are in one."""

from __future__ import annotations

import pytest

from tmem.texts import fold, names, said, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is  Ana's PIN?", "what is ana’s pin?"),
        ("Café", "Cafe\u0301"),
        ("ＷＨＡＴ？", "what?"),
        ("a\u00a0b\n c", "A b c"),
        ("“yes”", '"YES"'),
        ("Où ?", "où?"),
        ("Where’s the co\u00adop\u200b—there?", "where`s the coop-there?"),
        ("Ana´s", "ana's"),
    ],
)
def test_what_looks_alike_is_the_same(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_signs_belong_to_the_word_that_they_are_in() -> None:
    assert words("मैं दिल्ली में") == {"मैं", "दिल्ली", "में"} and words("Zo\u0308e's caf\u0065\u0301") == {"zöe", "café"}


def test_different_texts_stay_different() -> None:
    assert fold("What is Ana's PIN?") != fold("What is Ann's PIN?") and fold("5 kg") != fold("5 g")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is Maria's PIN?", ["Maria"]),
        ("Maria's vehicle?", ["Maria"]),
        ("Did Jean-Luc meet O’Neil in Lyon?", ["Jean-Luc", "O’Neil", "Lyon"]),
        ("One of them lives in Lyon. What is that person's job?", ["Lyon"]),
        ("I told you that I am tired", []),
        ("Am I late? I'll hurry. Who'd know? Ana'd know.", ["Ana"]),
        ("Which fruit do I object to on an Italian flatbread?", []),
        ("who wrote hamlet", []),
        ("玛丽住在哪里？", []),
        ("Where did Łukasz go? And Ana? Łukasz!", ["Łukasz", "Ana"]),
    ],
)
def test_names_are_words_with_a_capital_letter_where_none_has_to_be(text: str, found: list[str]) -> None:
    assert names(text) == found


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("Lyon", "Lyon"),
        ("<think>Paris? No.</think> Lyon", "Lyon"),
        ("Paris? No.</think>\nLyon ", "Lyon"),
        ("<think>a</think>\n<think>b</think> Lyon", "Lyon"),
        ("Well. <think>a</think> Lyon", "Well.  Lyon"),
        ("<think>Paris? No, wait", ""),
        ("", ""),
        ("The tag <think> begins a thought", "The tag <think> begins a thought"),
    ],
)
def test_what_is_said_is_what_stands_beside_thoughts(reply: str, text: str) -> None:
    assert said(reply) == text
