"""The ``openai`` package as the client: whole, streamed, with extras of ours, and errors that it knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from server.serving import Server

openai = pytest.importorskip("openai")
http = pytest.importorskip("httpx2")
ASKED: Any = [{"role": "user", "content": "Where does Ana live?"}]


def client(server: Server, key: str = "unused") -> Any:
    transport = http.ASGITransport(server.app, raise_app_exceptions=False)
    own = http.AsyncClient(transport=transport)
    return openai.AsyncOpenAI(api_key=key, base_url="http://localhost/v1", http_client=own, max_retries=0)


def test_a_life_with_it(server: Server, run: Callable[..., Any]) -> None:
    key = server.keys.make("ana", "ana")

    async def life() -> None:
        async with client(server, key) as own:
            assert [model.id async for model in own.models.list()] == ["fake"]
            assert (await own.models.retrieve("fake")).id == "fake"
            told: Any = [{"role": "user", "content": "I live in Lyon.", "name": "Ana"}]
            learns = {"memory": {"learn": True}}
            taught = await own.chat.completions.create(model="fake", messages=told, extra_body=learns)
            assert taught.tmem["learned"][0]["answer"] == "Lyon"
            whole = await own.chat.completions.create(model="fake", messages=ASKED)
            assert whole.choices[0].message.content == "Lyon" and whole.usage.total_tokens == 5
            likely = await own.chat.completions.create(model="fake", messages=ASKED, logprobs=True, top_logprobs=1)
            [token] = likely.choices[0].logprobs.content
            assert token.token == "Lyon" and token.top_logprobs[0].logprob == token.logprob == -0.5
            stream = await own.chat.completions.create(
                model="fake", messages=ASKED, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Lyon"
            assert chunks[-1].usage.total_tokens == 5 and chunks[-2].tmem["source"] == "weights"

    run(life())


def test_responses_whole_and_streamed(server: Server, run: Callable[..., Any]) -> None:
    key = server.keys.make("ana", "ana")

    async def life() -> None:
        async with client(server, key) as own:
            learns = {"memory": {"learn": True}}
            told: Any = [{"role": "user", "content": [{"type": "input_text", "text": 'Ana said, "I live in Lyon."'}]}]
            taught = await own.responses.create(model="fake", input=told, extra_body=learns)
            assert taught.tmem["learned"][0]["answer"] == "Lyon" and taught.status == "completed"
            whole = await own.responses.create(model="fake", input=ASKED[0]["content"], instructions="Be brief.")
            assert whole.output_text == "Lyon" and whole.usage.total_tokens == 7 and whole.error is None
            chunks, kinds = list[str](), list[str]()
            async with own.responses.stream(model="fake", input=ASKED[0]["content"]) as stream:
                async for event in stream:
                    kinds.append(event.type)
                    if event.type == "response.output_text.delta":
                        chunks.append(event.delta)
                final = await stream.get_final_response()
            assert "".join(chunks) == final.output_text == "Lyon" and final.tmem["source"] == "weights"
            assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
            raw = await own.responses.create(model="fake", input=ASKED, stream=True)
            assert [event.sequence_number async for event in raw] == list(range(9))

    run(life())


def test_a_response_that_was_cut_says_so(make: Callable[..., Server], run: Callable[..., Any]) -> None:
    server = make(converses=True)

    async def cut() -> None:
        async with client(server) as own:
            more: Any = {"model": "fake", "input": "Count for me.", "user": "ana", "max_output_tokens": 2}
            whole = await own.responses.create(**more)
            assert (whole.output_text, whole.status) == ("one two", "incomplete")
            assert whole.incomplete_details.reason == "max_output_tokens"
            events = [event async for event in await own.responses.create(**more, stream=True)]
            assert events[-1].type == "response.incomplete" and events[-1].response.output_text == "one two"

    run(cut())


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": "y"}]}, "input.0"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content"),
        ({"input": [{"role": "assistant", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input.0.content.0.type"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"text": {"format": {"type": "json_schema", "schema": {"not": {}}}}}, "text.format"),
        ({"background": True}, "background"),
        ({"documents": [{"text": ""}]}, "documents.0.text"),
    ],
)
def test_what_a_response_cannot_have_is_refused(server: Server, more: dict[str, Any], param: str) -> None:
    body = {"model": "fake", "input": "Who?", "user": "ana", **more}
    reply = server.ask("POST", "/v1/responses", json=body)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == param


def test_errors_are_its_own_and_say_what_is_wrong(server: Server, run: Callable[..., Any]) -> None:
    key = server.keys.make("ana", "ana")

    async def errors() -> None:
        async with client(server, key) as own:
            with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'"):
                await own.chat.completions.create(model="gpt-4", messages=ASKED)
            with pytest.raises(openai.BadRequestError, match="tools is not supported"):
                await own.chat.completions.create(model="fake", messages=ASKED, tools=[{"type": "function"}])
            with pytest.raises(openai.PermissionDeniedError):
                await own.chat.completions.create(model="fake", messages=ASKED, user="ben")
        async with client(server, "tmem-wrong") as own:
            with pytest.raises(openai.AuthenticationError, match="valid key"):
                await own.models.list()

    run(errors())


def test_a_late_error_ends_its_stream_with_an_exception(
    server: Server, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmem.server.streaming.SOON", 0.0)
    monkeypatch.setattr("tmem.server.sse.PING", 0.01)

    async def late() -> None:
        server.actions.free.clear()
        asyncio.get_running_loop().call_later(0.3, server.actions.free.set)
        async with client(server) as own:
            breaks: Any = [{"role": "user", "content": "What breaks?"}]
            stream = await own.chat.completions.create(model="fake", messages=breaks, stream=True, user="ana")
            with pytest.raises(openai.APIError, match="went wrong"):
                async for _ in stream:
                    pass

    run(late())
