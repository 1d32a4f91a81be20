"""The JSON stop: at the bracket that closes the first array, whatever strings hold and however it is cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmem.model.json_stop import JsonStop


def stop_at(text: str) -> int | None:
    """How many characters were taken when the stop came."""
    stop = JsonStop()
    return next((count for count, char in enumerate(text, start=1) if stop.feed(char)), None)


@pytest.mark.parametrize(
    "array",
    [
        "[]",
        "[[1], [2, [3]]]",
        '[ \n{"a": [1]}]',
        '[{"instruction": "a ] b", "output": "["}]',
        r'[{"instruction": "say \"]\"", "output": "\\"}]',
        r'["\\\"]", "\\"]',
    ],
)
def test_stops_at_the_end_of_the_array(array: str) -> None:
    json.loads(array)
    for before in ("", "```json\n", "Of [1] and [ 2 ]: ", 'Here "it is', "}] \\"):
        assert stop_at(before + array + " ] and more") == len(before + array)


@pytest.mark.parametrize("text", ["", "no array", '[{"a": "b"}', '["]', r'["\"]', "]", '["a\\'])
def test_goes_on_while_the_array_is_open(text: str) -> None:
    assert stop_at(text) is None


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_array(value: object) -> None:
    text = json.dumps([{"pairs": value}])
    assert stop_at(text) == len(text)


@given(st.lists(st.text(alphabet='[]{}"\\ a', max_size=4)))
def test_cutting_into_pieces_changes_nothing(pieces: list[str]) -> None:
    stop = JsonStop()
    whole, taken = stop_at("".join(pieces)), 0
    for piece in pieces:
        taken += len(piece)
        if stop.feed(piece):
            assert whole is not None
            assert taken - len(piece) < whole <= taken
            return
    assert whole is None


def test_a_draft_in_a_thought_is_not_the_array() -> None:
    draft, array = '<think>perhaps [{"a": "]"}] or</think>', '[{"a": "<think>"}, {"b": "</think>"}]'
    assert stop_at(draft + array + " ]") == len(draft + array)
    assert stop_at('<think>perhaps [{"a": "b"}]') is None


def test_an_object_that_comes_again_ends_it() -> None:
    one, other = '{"instruction": "Who?", "output": "Ana"}', '{"instruction": "Who?", "output": "Ben"}'
    assert stop_at(f"[{one}, {other}, {one}, {other}") == len(f"[{one}, {other}, {one}")
    assert stop_at(f'[{one}, {{"a": {one}}}, {{"b": {one}}}') is None  # parts of objects may be alike
