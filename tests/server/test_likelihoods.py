"""Log-probabilities of tokens: of those that are shown and no others, whole and streamed, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from server.serving import Server
from server.test_streams import parsed, said

from tmem.server.likelihoods import Likelihoods
from tmem.server.visible import visible

LOCAL = {"user": "ana"}


def heard(pieces: Sequence[str], stops: Sequence[str] = (), thinking: bool = False, ends: bool = True) -> list[str]:
    """The tokens that are told, taken in parts as a stream takes them."""
    likelihoods = Likelihoods(lambda number: pieces[number], 0, thinking)
    taken, shown, text = list[dict[str, Any]](), "", ""
    for number, piece in enumerate(pieces):
        text = (text.rstrip("\ufffd") if piece == "é" else text) + piece  # as the second byte of a character decodes
        likelihoods.hear(text, number, -1.0, ())
        now, stopped = visible(text, stops, thinking=thinking)
        shown = max(shown, now, key=len)
        taken += likelihoods.take(shown)
        if stopped:
            break
    now, _ = visible(text, stops, ended=ends, thinking=thinking)
    taken += likelihoods.take(max(shown, now, key=len))
    return [one["token"] for one in taken]


@pytest.mark.parametrize(
    ("pieces", "stops", "thinking", "told"),
    [
        (["one", " two"], (), False, ["one", " two"]),
        (["\n", " ", "one", " two", " ", "\n"], (), False, ["one", " two"]),
        (["<", "think", ">", "a", "</think>", "\n", "one", " <", " two"], (), False, ["one", " <", " two"]),
        (["a", " b", "</think>", "one"], (), True, ["one"]),
        (["one", " tw", "o th", "ree"], ["two"], False, ["one", " tw"]),  # its white space is shown
        (["one", "tw", "o"], ["two"], False, ["one"]),
        (["caf", "\ufffd", "é", " x"], (), False, ["caf", "\ufffd", "é", " x"]),
    ],
)
def test_the_tokens_that_are_shown_and_no_others(
    pieces: list[str], stops: list[str], thinking: bool, told: list[str]
) -> None:
    assert heard(pieces, stops, thinking) == told


def test_a_chat_has_them_whole_and_streamed(make: Callable[..., Server]) -> None:
    server = make(converses=True)
    whole = server.chat("Count for me.", logprobs=True, top_logprobs=2, **LOCAL).json()["choices"][0]
    content = whole["logprobs"]["content"]
    assert [one["token"] for one in content] == whole["message"]["content"].split()
    assert content[0]["logprob"] == -0.5 and content[0]["bytes"] == list(b"one")
    assert [one["logprob"] for one in content[0]["top_logprobs"]] == [-0.5, -2.0]
    chunks = parsed(server.chat("Count for me.", logprobs=True, top_logprobs=2, stream=True, **LOCAL).text)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [one for choice in choices if choice["logprobs"] for one in choice["logprobs"]["content"]] == content
    assert all(len(choice["logprobs"]["content"]) == 1 for choice in choices if said([{"choices": [choice]}]))
    plain = server.chat("Count for me.", logprobs=True, stop=" three", **LOCAL).json()["choices"][0]
    assert [(one["token"], one["top_logprobs"]) for one in plain["logprobs"]["content"]] == [("one", []), ("two", [])]
    assert server.chat("Count for me.", logprobs=False, **LOCAL).json()["choices"][0]["logprobs"] is None


def test_what_nobody_generated_has_none(server: Server) -> None:
    assert server.chat("Where does Ana live?", logprobs=True, **LOCAL).json()["choices"][0]["logprobs"] is None


def test_a_response_has_them_where_they_are_asked_for(make: Callable[..., Server]) -> None:
    server = make(converses=True)

    def texts(**more: Any) -> list[dict[str, Any]]:
        body = {"model": "fake", "input": "Count for me.", **LOCAL, **more}
        reply = server.ask("POST", "/v1/responses", json=body)
        assert reply.status_code == 200
        found: list[dict[str, Any]] = reply.json()["output"][0]["content"][0]["logprobs"]
        return found

    assert texts() == [] and texts(include=["file_search_call.results"]) == []
    assert [one["token"] for one in texts(include=["message.output_text.logprobs"])][:2] == ["one", "two"]
    assert len(texts(top_logprobs=1)[0]["top_logprobs"]) == 1
