"""OpenAI's interface: whole and streamed, learning when asked to, cut where asked to, refusing what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Timer
from typing import Any

import pytest
from server.serving import Server

LOCAL = {"user": "ana"}
ASKED = "Where does Ana live?"


def test_it_learns_only_when_asked_and_answers_from_what_it_learned(server: Server) -> None:
    first = server.chat("I live in Lyon. Where does Ana live?", **LOCAL).json()
    assert first["tmem"] == {"source": "nothing", "pairs": [], "version": None}
    taught = server.chat("I live in Lyon. Where does Ana live?", memory={"learn": True}, **LOCAL).json()
    [pair] = taught["tmem"]["learned"]  # after the answer, which does not wait for it
    assert (pair["question"], pair["answer"]) == (ASKED, "Lyon") and taught["tmem"]["source"] == "nothing"
    asked = server.chat(ASKED, **LOCAL).json()
    assert asked["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "Lyon", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    [known] = server.ask("GET", "/v1/memories", headers={"X-Tmem-User": "ana"}).json()["results"]
    assert known["timestamp"] is not None  # what a chat tells is said now
    [version] = server.ask("GET", "/v1/versions", headers={"X-Tmem-User": "ana"}).json()["results"]
    assert asked["tmem"] == {"source": "weights", "pairs": [pair["id"]], "version": version["id"]}
    assert asked["usage"] == {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}
    assert asked["object"] == "chat.completion" and asked["model"] == "fake" and asked["id"].startswith("chatcmpl-")


def test_a_header_asks_for_learning_too_and_the_body_has_the_last_word(server: Server) -> None:
    def learned(header: str, **more: Any) -> Any:
        message = {"role": "user", "content": "I live in Lyon.", "name": "Ana"}
        body = {"model": "fake", "messages": [message], **LOCAL, **more}
        headers = {"X-Tmem-Learn": header}
        return server.ask("POST", "/v1/chat/completions", json=body, headers=headers)

    assert "learned" not in learned("true", memory={"learn": False}).json()["tmem"]
    assert "learned" in learned("true").json()["tmem"]
    assert "learned" in learned("true", memory={"agent_id": "coach"}).json()["tmem"]  # which says nothing of learning
    assert learned("yes").status_code == 400


@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "user", "content": "### Task:\nGenerate a title. I live in Lyon.", "name": "Ana"}]},
        {
            "messages": [
                {"role": "user", "content": "Write a title for the conversation. I live in Lyon.", "name": "Ana"}
            ]
        },
        {"metadata": {"task": "title_generation"}},
    ],
)
def test_what_a_chat_program_asks_by_itself_teaches_nothing(server: Server, more: dict[str, Any]) -> None:
    message = {"role": "user", "content": "I live in Lyon.", "name": "Ana"}
    body = {"model": "fake", "messages": [message], "memory": {"learn": True}, **LOCAL, **more}
    assert "learned" not in server.ask("POST", "/v1/chat/completions", json=body).json()["tmem"]
    if "metadata" not in more:
        return
    del body["metadata"]
    for header, teaches in (("title_generation", False), ("{{TASK}}", True)):
        said = server.ask("POST", "/v1/chat/completions", json=body, headers={"X-Tmem-Task": header}).json()
        assert ("learned" in said["tmem"]) == teaches


def test_an_error_that_comes_soon_has_its_status_and_a_late_one_is_an_event(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = server.chat("What breaks?", stream=True, **LOCAL)
    assert soon.status_code == 500 and "secret" not in soon.text and soon.json()["error"]["type"] == "server_error"
    monkeypatch.setattr("tmem.server.streaming.SOON", 0.0)
    monkeypatch.setattr("tmem.server.sse.PING", 0.01)
    server.actions.free.clear()
    Timer(0.3, server.actions.free.set).start()
    late = server.chat("What breaks?", stream=True, **LOCAL)
    parts = late.text.strip().split("\n\n")
    assert late.status_code == 200 and json.loads(parts[-1].removeprefix("data: "))["error"]["type"] == "server_error"
    assert "secret" not in late.text and any(part.startswith(":") for part in parts)


def test_stop_and_limits_cut_and_sampling_reaches_the_model(make: Callable[..., Server]) -> None:
    server = make(converses=True)

    def said(**more: Any) -> tuple[str, str, int]:
        reply = server.chat("Count for me.", **LOCAL, **more).json()
        choice = reply["choices"][0]
        return choice["message"]["content"], choice["finish_reason"], reply["usage"]["completion_tokens"]

    assert said() == ("one two three four five", "length", 5)
    assert said(max_tokens=2) == ("one two", "length", 2)
    assert said(max_completion_tokens=6, stop=[" four", "two"]) == ("one ", "stop", 2)
    said(temperature=0.5, top_p=0.9, seed=3, stop="z", max_tokens=4)
    sampling = server.actions.samplings[-1]
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, 3)
    assert (sampling.stop_texts, sampling.max_new_tokens) == (("z",), 4)


def test_a_told_answer_is_cut_too(server: Server) -> None:
    pair = {"question": "What is it?", "answer": "one two three"}
    server.ask("POST", "/v1/memories", json={"pairs": [pair]}, headers={"X-Tmem-User": "ana"})
    cut = server.chat("What is it?", max_tokens=2, **LOCAL).json()
    assert cut["choices"][0]["message"]["content"] == "one two" and cut["choices"][0]["finish_reason"] == "length"
    assert server.chat("What is it?", stop="two", **LOCAL).json()["choices"][0]["message"]["content"] == "one "


def test_system_texts_stay_in_a_long_conversation_and_teach_nothing(make: Callable[..., Server]) -> None:
    server = make(converses=True)
    turns = [{"role": "developer", "content": 'Be brief. Eve said, "I live in Secretville"'}]
    for number in range(8):
        turns += [{"role": "user", "content": f"u{number}"}, {"role": "assistant", "content": f"a{number}"}]
    turns.append({"role": "user", "content": [{"type": "text", "text": "Go"}, {"type": "text", "text": "on."}]})  # type: ignore[dict-item]
    body = {"model": "fake", "messages": turns, "memory": {"learn": True}, **LOCAL}
    assert server.ask("POST", "/v1/chat/completions", json=body).status_code == 200
    [prompt] = server.actions.prompted
    assert prompt.startswith("Be brief.") and prompt.endswith("a7 Go on.") and "u4" not in prompt
    short = {**body, "messages": [turns[0], turns[-1]]}
    assert server.ask("POST", "/v1/chat/completions", json=short).json()["tmem"]["learned"] == []


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"n": 2}, "n"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}}, "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": True}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ""}, "stop"),
        ({"memory": {"lern": True}}, "memory.lern"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    ],
)
def test_what_cannot_be_done_is_refused_in_openais_shape(server: Server, more: dict[str, Any], param: str) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": ASKED}], **LOCAL, **more}
    reply = server.ask("POST", "/v1/chat/completions", json=body)
    error = reply.json()["error"]
    assert reply.status_code == 400 and set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param and error["type"] == "invalid_request_error" and "\n" not in error["message"]


def test_what_asks_for_nothing_is_passed_over(server: Server) -> None:
    more = {"n": 1, "tools": [], "tool_choice": "auto", "frequency_penalty": 0, "logprobs": False, "store": True}
    more |= {"response_format": {"type": "text"}, "presence_penalty": 0.0, "service_tier": "auto"}  # type: ignore[dict-item]
    assert server.chat(ASKED, **LOCAL, **more).status_code == 200


def test_models(server: Server) -> None:
    [found] = server.ask("GET", "/v1/models").json()["data"]
    assert found["id"] == "fake" and server.ask("GET", "/v1/models/fake").json() == found
    for reply in (server.ask("GET", "/v1/models/gpt-4"), server.chat(ASKED, **LOCAL, model="gpt-4")):
        assert reply.status_code == 404 and reply.json()["error"]["code"] == "model_not_found"


def test_a_schema_reaches_the_model_that_converses_and_no_other(make: Callable[..., Server]) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": schema}}
    server = make(converses=True)
    told = {"pairs": [{"question": ASKED, "answer": "Lyon"}], "user_id": "ana"}
    assert server.ask("POST", "/v1/memories", json=told).status_code == 200
    reply = server.chat(ASKED, response_format=wanted, **LOCAL).json()
    assert reply["choices"][0]["message"]["content"].startswith("one two")  # it puts the memory's answer into shape
    assert reply["tmem"]["source"] == "weights" and len(reply["tmem"]["pairs"]) == 1
    [prompt] = server.actions.prompted
    assert prompt.startswith(f"{ASKED} Lyon") and json.loads(server.actions.samplings[-1].schema) == schema
    body = {"model": "fake", "input": ASKED, "text": {"format": {"type": "json_object"}}, **LOCAL}
    response = server.ask("POST", "/v1/responses", json=body).json()
    assert json.loads(server.actions.samplings[-1].schema) == {"type": "object"}
    assert response["text"] == {"format": {"type": "json_object"}}
    refused = make().chat(ASKED, response_format=wanted, **LOCAL)
    assert refused.status_code == 400 and "cannot be held to a schema" in refused.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_documents_are_read_beside_the_memory_and_it_says_what_moved_the_answer(
    make: Callable[..., Server], stream: bool
) -> None:
    server = make(converses=True)
    told = {"pairs": [{"question": ASKED, "answer": "Lyon"}], "user_id": "ana"}
    [pair] = server.ask("POST", "/v1/memories", json=told).json()["pairs"]
    documents = [{"title": "News", "text": "Ana moved."}, {"text": "Ben did not."}]
    reply = server.chat(ASKED, documents=documents, stream=stream, **LOCAL)
    if stream:
        chunks = [json.loads(part[6:]) for part in reply.text.split("\n\n") if part.startswith("data: {")]
        found, said = chunks[-1], "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    else:
        found, said = reply.json(), reply.json()["choices"][0]["message"]["content"]
        assert found["usage"]["prompt_tokens"] == 4 + 3 + 3
    moved = {"memory": 1.5, "documents": [0.25, 0.25]}
    expected = {"source": "both", "pairs": [pair["id"]], "moved": moved}
    assert said == "from both of them" and found["tmem"].items() >= expected.items()
    assert server.actions.prompted == [f"News Ana moved. Ben did not. {ASKED}"]
    body = {"model": "fake", "input": ASKED, "user": "ana", "documents": documents}
    response = server.ask("POST", "/v1/responses", json=body).json()
    assert response["tmem"].items() >= expected.items() and server.actions.prompted[1] == server.actions.prompted[0]
    refused = make().chat(ASKED, documents=documents, **LOCAL)
    assert refused.status_code == 400 and "reads no documents" in refused.json()["error"]["message"]
    for wrong in ([{"text": ""}], [{"title": "x"}], ["x"], [{"text": "x"}] * 17):
        assert server.chat(ASKED, documents=wrong, **LOCAL).status_code == 400
