"""Answers token by token: the same as the whole, in events that clients take apart, and nothing for who has gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from server.serving import Server

LOCAL = {"user": "ana"}
ASKED = "Where does Ana live?"


def parsed(text: str) -> list[dict[str, Any]]:
    """The events of a stream, which ends as it has to."""
    parts = text.split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""]
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2] if not part.startswith(":")]


def said(chunks: list[dict[str, Any]]) -> list[str]:
    found = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    return [text for text in found if text]


async def leaving(server: Server, path: str, body: dict[str, Any], after: Callable[[list[str]], bool]) -> list[str]:
    """What somebody gets who goes as soon as ``after`` what was sent is true."""
    sent, gone = list[str](), asyncio.Event()
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message.get("body", b"").decode())
        if after(sent):
            gone.set()

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"}
    scope |= {"path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers}
    if after(sent):
        asyncio.get_running_loop().call_later(0.1, gone.set)
    await server.app(scope, receive, send)
    return sent


def test_it_says_the_same_as_the_whole_word_by_word(make: Callable[..., Server]) -> None:
    server = make(converses=True)
    for more in ({}, {"max_tokens": 3}, {"stop": "three f"}, {"stop": ["four", "e tw"], "max_tokens": 5}):
        whole = server.chat("Count for me.", **LOCAL, **more).json()
        reply = server.chat("Count for me.", stream=True, **LOCAL, **more)
        assert reply.headers["content-type"].startswith("text/event-stream")
        first, *middle, last = parsed(reply.text)
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(said(middle)) == whole["choices"][0]["message"]["content"]
        assert last["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
        assert last["tmem"] == whole["tmem"] and "usage" not in last
        assert len({chunk["id"] for chunk in (first, *middle, last)}) == 1


def test_a_word_is_sent_as_soon_as_it_is_said(make: Callable[..., Server]) -> None:
    server = make(converses=True)
    server.actions.slow.clear()
    body = {"model": "fake", "messages": [{"role": "user", "content": "Count."}], "stream": True, **LOCAL}

    def one_word(sent: list[str]) -> bool:
        if any('"content":"one"' in part for part in sent):
            server.actions.slow.set()
        return False

    sent = asyncio.run(asyncio.wait_for(leaving(server, "/v1/chat/completions", body, one_word), 30))
    assert "".join(said(parsed("".join(sent)))) == "one two three four five"


def test_what_it_took_and_what_was_learned_come_last(server: Server) -> None:
    server.chat("I live in Lyon.", memory={"learn": True}, **LOCAL)
    options = {"stream": True, "stream_options": {"include_usage": True}, "memory": {"learn": True}}
    chunks = parsed(server.chat("I live in Oslo. Where does Ana live?", **options, **LOCAL).text)
    assert said(chunks) == ["Lyon"] and all("usage" in chunk for chunk in chunks)
    *_, last, learned, usage = chunks
    assert last["choices"][0]["finish_reason"] == "stop" and last["tmem"]["source"] == "weights"
    assert learned["choices"][0]["delta"] == {} and learned["tmem"]["learned"][0]["answer"] == "Oslo"
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
def test_nothing_more_is_computed_for_who_has_gone(make: Callable[..., Server], stream: bool, at_once: bool) -> None:
    server = make(converses=True)
    server.actions.slow.clear()
    body = {"model": "fake", "messages": [{"role": "user", "content": "Count."}], "stream": stream, **LOCAL}

    def left(sent: list[str]) -> bool:
        return at_once or not stream or any('"content":"one"' in part for part in sent)

    async def leave() -> None:
        await asyncio.wait_for(leaving(server, "/v1/chat/completions", body, left), 30)
        server.actions.slow.set()
        while server.app.state.served.talk.held:
            await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert server.actions.spoken <= 1


def test_who_goes_while_waiting_is_never_answered(make: Callable[..., Server]) -> None:
    server = make(converses=True)
    body = {"model": "fake", "messages": [{"role": "user", "content": "Count."}], **LOCAL}

    async def leave() -> None:
        talk = server.app.state.served.talk
        with server.memory._shared.turn:  # the model is at something else
            await asyncio.wait_for(leaving(server, "/v1/chat/completions", body, lambda sent: True), 30)
        while talk.held:
            await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert server.actions.spoken == 0
