"""What is shown of a text while it is written: never taken back, and in the end what is shown of the whole."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tmem.server.visible import visible
from tmem.texts import said

PIECES = ["a", "b", "ab", " ", "\n", "<", "<th", "ink>", "<think>", "</think>", "</", "�", "é", "STOP", "ST", "."]


@given(
    st.lists(st.sampled_from(PIECES), max_size=14),
    st.lists(st.sampled_from(["STOP", "b", "a.", "\n\n", " a", "abab", "ba"]), max_size=4),
    st.booleans(),
)
@example(["ab", "ab"], ["abab", "ba"], False)
@example(["<th", "ink>", "a", "</think>", " b"], [], False)
def test_what_is_shown_only_grows_into_the_whole(pieces: list[str], stops: list[str], thinking: bool) -> None:
    text, shown, stopped = "", "", False
    for piece in pieces:
        text += piece
        now, stopped = visible(text, stops, thinking=thinking)
        assert now.startswith(shown)
        shown = now
        if stopped:
            break
    whole, ended = visible(text, stops, ended=True, thinking=thinking)
    assert whole.startswith(shown) and ended == stopped
    assert not stopped or whole == shown


@given(st.text(st.sampled_from("ab <>/\n"), max_size=12))
def test_without_stops_it_is_what_the_library_says(text: str) -> None:
    assert visible(text, ended=True)[0] == said(text)
    assert visible(f"<think>x</think>{text}", ended=True)[0] == said(text)


def test_characters_and_stop_texts_may_come_in_parts() -> None:
    assert visible("caf\ufffd") == ("caf", False)
    assert visible("caf\ufffd", ended=True) == ("caf\ufffd", False)  # which no token completes any more
    assert visible("one two ST", ["STOP"]) == ("one two", False)
    assert visible("one two STAR", ["STOP"]) == ("one two STAR", False)
    assert visible("one two STOP", ["STOP"]) == ("one two ", True)
    assert visible("thought</think> said", thinking=True) == ("said", False)
