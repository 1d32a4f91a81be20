"""Our own routes, and what any route does with bodies that are too long, broken, or too many at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from server.fakes import open_memory
from server.serving import Server

from tmem.server.replies import Refusal, refusal_of
from tmem.server.workers import WorkerPool
from tmem.store.ledger.database import Lost
from tmem.store.ledger.locks import Busy

ANA = {"X-Tmem-User": "ana"}
LYON = {"question": "Where does Ana live?", "answer": "Lyon"}


def test_a_life_of_a_memory(server: Server, tmp_path: Path) -> None:
    def call(method: str, path: str, **body: Any) -> Any:
        reply = server.ask(method, path, headers=ANA, json=body or None)
        assert reply.status_code == 200, reply.text
        return reply.json()

    receipt = call("POST", "/v1/memories", pairs=[LYON], metadata={"from": "form"}, timestamp="2026-05-08")
    [pair] = receipt["pairs"]
    assert (pair["answer"], pair["metadata"]) == ("Lyon", {"from": "form"}) and receipt["version"].startswith("v1-")
    assert call("GET", f"/v1/memories/{pair['id']}")["timestamp"].startswith("2026-05-08")
    [newer] = call("PUT", f"/v1/memories/{pair['id']}", text="Nice")["pairs"]
    assert call("POST", "/v1/ask", question=LYON["question"]) | {"milliseconds": 0} == {
        "text": "Nice",
        "source": "weights",
        "pairs": [newer["id"]],
        "shown": [],
        "version": call("GET", "/v1/versions")["results"][-1]["id"],
        "milliseconds": 0,
    }
    assert call("POST", "/v1/ask", question=LYON["question"], version=1)["text"] == "Lyon"
    history = call("GET", f"/v1/memories/{newer['id']}/history")["results"]
    assert [row["answer"] for row in history] == ["Nice", "Lyon"]
    assert [row["id"] for row in call("GET", "/v1/memories?status=all")["results"]] == [pair["id"], newer["id"]]
    assert [row["answer"] for row in call("POST", "/v1/memories/search", query="live")["results"]] == ["Nice"]
    shown = call("POST", "/v1/ask", question=LYON["question"], show_pairs=1)
    assert shown["shown"] == [newer["id"]] and "Nice" in server.actions.prompted[-1]
    changes = call("GET", "/v1/diff?first=1&second=2")
    assert [row["id"] for row in changes["added"]] == [newer["id"]]
    assert [row["id"] for row in changes["removed"]] == [pair["id"]]
    assert call("POST", "/v1/tag", version=2, name="moved") == {"name": "moved"}
    assert call("GET", "/v1/diff?first=moved&second=2") == {"added": [], "removed": []}
    assert call("POST", "/v1/search", query="live", filters={"user_id": "ana"})["results"][0]["answer"] == "Nice"
    assert call("POST", "/v1/rollback", version=1)["kind"] == "rollback"
    verified = call("GET", "/v1/verify?deep=true")
    assert verified["version"] == call("GET", "/v1/versions")["results"][-1]["id"] and verified["deep"]
    assert call("GET", "/v1/stats")["versions"] == 3
    assert call("GET", "/v1/why?question=Where+does+Ana+live%3F&answer=")["results"] == []
    assert [row["id"] for row in call("GET", "/v1/why?question=Where+does+Ana+live%3F")["results"]] == [pair["id"]]
    lines = server.ask("GET", "/v1/export", headers=ANA)
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.text.splitlines()]
    (tmp_path / "ledger.jsonl").write_bytes(lines.content)
    elsewhere, _ = open_memory(tmp_path / "elsewhere")
    with elsewhere:
        elsewhere.import_(tmp_path / "ledger.jsonl", user_id="ana")
        assert [row["answer"] for row in elsewhere.get_all(user_id="ana")] == ["Lyon"]
    assert call("DELETE", f"/v1/memories/{pair['id']}")["kind"] == "forget"
    [other] = call("POST", "/v1/memories", pairs=[LYON], user_id="ana")["pairs"]
    assert call("POST", "/v1/forget", ids=[other["id"]], mode="reextract")["details"]["mode"] == "reextract"
    call("DELETE", "/v1/memories")
    assert call("GET", "/v1/memories")["results"] == []
    assert call("POST", "/v1/reset") == {"erased": True} and call("POST", "/v1/reset") == {"erased": False}
    assert server.memory.users() == []


def test_parts_that_are_no_text_are_named_in_the_receipt(server: Server) -> None:
    parts = [{"type": "text", "text": "I live in Lyon."}, {"type": "image_url", "image_url": {"url": "x"}}]
    body = {"messages": [{"content": parts, "name": "Ana"}, {"role": "assistant", "content": "I live in Oslo."}]}
    receipt = server.ask("POST", "/v1/memories", headers=ANA, json=body).json()
    assert [row["answer"] for row in receipt["pairs"]] == ["Lyon"]
    assert receipt["rejected"] == [{"reason": "not a text, not read", "text": "image_url"}]


def test_who_only_looks_leaves_no_trace(server: Server) -> None:
    for method, path, body in (
        ("GET", "/v1/memories", None),
        ("DELETE", "/v1/memories", None),
        ("POST", "/v1/ask", {"question": "Who?"}),
        ("POST", "/v1/rollback", {"version": 1}),
        ("DELETE", "/v1/memories/x", None),
        ("GET", "/v1/export", None),
        ("GET", "/v1/verify", None),
        ("GET", "/v1/why?question=Who", None),
        ("POST", "/v1/forget", {"ids": ["x"]}),
        ("POST", "/v1/tag", {"version": 1, "name": "x"}),
        ("POST", "/v1/reset", None),
        ("POST", "/v1/chat/completions", {"model": "fake", "messages": [{"role": "user", "content": "Who?"}]}),
    ):
        server.ask(method, path, headers=ANA, json=body)
    assert server.memory.users() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/memories", {"messages": "x", "user_id": "ben"}, 400),
        ("POST", "/v1/memories", {"pairs": [{"question": "x"}]}, 400),
        ("POST", "/v1/memories", {"messages": 3}, 400),
        ("POST", "/v1/memories", {"messages": [{"role": "user"}]}, 400),
        ("POST", "/v1/memories", {"messages": [{"content": "x", "user": "ben"}]}, 400),
        ("POST", "/v1/memories", {"messages": "x", "timestamp": "08/05/2023"}, 400),
        ("POST", "/v1/memories/search", {"query": "x", "top_k": 0}, 400),
        ("GET", "/v1/memories?status=gone", None, 400),
        ("POST", "/v1/ask", {"question": "x", "version": "v9"}, 404),
        ("POST", "/v1/ask", {"question": "x", "unknown": "guess"}, 400),
        ("POST", "/v1/rollback", {"version": 7}, 404),
        ("POST", "/v1/ask", {"question": "What breaks?"}, 500),
        ("GET", "/v1/why", None, 400),
        ("GET", "/v1/diff?first=1", None, 400),
        ("GET", "/v1/diff?first=1&second=2", None, 404),
        ("GET", "/v1/verify?deep=perhaps", None, 400),
        ("POST", "/v1/forget", {"ids": []}, 400),
        ("POST", "/v1/forget", {"ids": ["x"]}, 404),
        ("POST", "/v1/tag", {"version": 1, "name": "x"}, 404),
        ("POST", "/v1/search", {"query": "x", "filters": {"user_id": "ben"}}, 400),
        ("POST", "/v1/search", {"query": "x", "filters": {"app_id": "ben"}}, 400),
        ("PATCH", "/v1/memories", None, 405),
        ("GET", "/v1/nothing", None, 404),
    ],
)
def test_errors_have_one_shape(server: Server, method: str, path: str, body: Any, status: int) -> None:
    reply = server.ask(method, path, headers=ANA, json=body)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"] and "\n" not in error["message"]
    assert str(server.keys.home) not in reply.text and "secret" not in reply.text
    assert ("allow" in reply.headers) == ("Allow" in error["message"]) == (status == 405)
    assert ("/openapi.json" in error["message"]) == (path == "/v1/nothing")


def test_a_misspelt_part_is_named(server: Server) -> None:
    told = {"messages": [{"role": "user", "content": "x", "nme": "Ana"}]}
    error = server.ask("POST", "/v1/memories", headers=ANA, json=told).json()["error"]
    assert (error["message"], error["param"]) == ("there is no messages.0.nme here", "messages.0.nme")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b'"x"',
        b"[1",
        b'{"question": "\xff\xfe"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"question": ' + b"9" * 10_000 + b"}",
        b'{"question": NaN}',
    ],
)
def test_broken_bodies(server: Server, content: bytes) -> None:
    headers = ANA | {"Content-Type": "application/json"}
    reply = server.ask("POST", "/v1/ask", headers=headers, content=content)
    assert reply.status_code == 400 and reply.json()["error"]["type"] == "invalid_request_error"
    said = reply.json()["error"]["message"]
    assert "the body is not JSON" in said or "a body that is a JSON object" in said or "valid string" in said


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/memories", {"pairs": [LYON], "metadata": {"half": "\ud800"}}, 400),
        ("/v1/ask", {"question": "\ud800"}, 200),
        ("/v1/ask", {"question": "x", "version": "\ud800"}, 404),
        ("/v1/ask", {"question": "x", "\ud800": 1}, 400),
        ("/v1/chat/completions", {"model": "\ud800", "messages": [{"role": "user", "content": "x"}]}, 404),
    ],
)
def test_half_characters_come_back_as_something_that_can_be_sent(
    server: Server, path: str, body: dict[str, Any], status: int
) -> None:
    headers = ANA | {"Content-Type": "application/json"}
    reply = server.ask("POST", path, headers=headers, content=json.dumps(body).encode())
    assert reply.status_code == status and reply.json()


def test_a_body_that_is_too_long(make: Callable[..., Server]) -> None:
    server = make(body_bytes=1000)
    long = {"question": "x" * 2000}
    assert server.ask("POST", "/v1/ask", headers=ANA, json=long).status_code == 413

    async def parts() -> Any:
        for _ in range(30):
            yield b"x" * 100

    reply = server.ask("POST", "/v1/ask", headers=ANA, content=parts())
    assert reply.status_code == 413 and reply.json()["error"]["code"] == "too_long"
    assert server.ask("POST", "/v1/ask", headers=ANA, json={"question": "x"}).status_code == 200


def test_a_body_that_does_not_arrive(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmem.server.middleware.BODY_SECONDS", 0.05)

    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    assert server.ask("POST", "/v1/ask", headers=ANA, content=slow()).status_code == 408


def test_nobody_fills_the_queue(make: Callable[..., Server]) -> None:
    server = make(each=4)
    server.actions.free.clear()

    async def many() -> list[Any]:
        async with server.client(**ANA) as client:
            ask = {"question": "Who?"}
            tasks = [asyncio.create_task(client.post("/v1/ask", json=ask)) for _ in range(7)]
            while sum(task.done() for task in tasks) < 3:
                await asyncio.sleep(0.01)
            looked = await client.get("/v1/memories")  # looking needs no model, and does not wait for it
            assert looked.status_code == 200 and (await client.get("/healthz")).status_code == 200
            other = asyncio.create_task(client.post("/v1/ask", json=ask, headers={"X-Tmem-User": "ben"}))
            await asyncio.sleep(0.05)
            assert not other.done()  # it waits for its turn
            server.actions.free.set()
            assert (await other).status_code == 200
            done = await asyncio.gather(*tasks)
            assert (await client.post("/v1/ask", json=ask)).status_code == 200
            return done

    done = asyncio.run(many())
    assert sorted(reply.status_code for reply in done) == [200] * 4 + [429] * 3
    refused = next(reply for reply in done if reply.status_code == 429)
    assert refused.headers["retry-after"] == "1" and refused.json()["error"]["code"] == "too_many_at_once"


def test_who_comes_when_the_queue_is_full_is_told_to_come_again() -> None:
    async def many() -> None:
        pool, free = WorkerPool("test", threads=1, waiting=2, each=9), Event()
        begun = [pool.start(lambda: free.wait(60), user) for user in "abc"]
        for late in range(2):
            with pytest.raises(Refusal, match="too many requests are waiting") as refused:
                pool.start(lambda: None, "d")
            assert (refused.value.status, refused.value.retry, pool.held) == (429, 1, 3), late
        begun[2].cancel()  # who leaves the line makes room
        await asyncio.sleep(0)
        after = pool.start(lambda: "made", "d")
        pool.later(lambda: None)  # left out: nobody waits for it
        free.set()
        assert await after == "made" and await begun[0] and pool.held == 0
        pool.close()
        with pytest.raises(Refusal, match="being stopped"):
            pool.start(lambda: None)

    asyncio.run(many())


def test_a_server_that_stops_waits_for_what_was_begun_and_begins_nothing() -> None:
    async def stops() -> None:
        pool, begun, free, made = WorkerPool("test", threads=1, waiting=2, each=9), Event(), Event(), list[str]()

        def first() -> None:
            begun.set()
            assert free.wait(60)
            made.append("first")

        calls = [pool.start(first), pool.start(lambda: made.append("second"))]
        assert await asyncio.to_thread(begun.wait, 60)
        closing = asyncio.create_task(asyncio.to_thread(pool.close))
        assert (await asyncio.wait([calls[1]], timeout=60))[0] and calls[1].cancelled() and not closing.done()
        free.set()
        await closing
        assert made == ["first"] and pool.held == 0

    asyncio.run(stops())


def test_what_is_told_without_waiting_is_known_by_the_next_answer(server: Server) -> None:
    receipt = server.ask("POST", "/v1/memories", headers=ANA, json={"pairs": [LYON], "wait": False}).json()
    assert [pair["status"] for pair in receipt["pairs"]] == ["pending"]
    said = server.ask("POST", "/v1/ask", headers=ANA, json={"question": LYON["question"]}).json()
    assert (said["text"], said["source"]) == ("Lyon", "weights")


def test_what_a_killed_server_was_told_is_written_by_the_next(make: Callable[..., Server]) -> None:
    server = make(waiting=1)
    users = [f"u{number}" for number in range(8)]  # more than can wait
    for user in users:
        server.memory.add(pairs=[(LYON["question"], "Lyon")], user_id=user, absorb=False)

    async def life() -> None:
        async with server.app.router.lifespan_context(server.app):
            while not all(server.memory.versions(user_id=user) for user in users):
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(life(), 60))


def test_users_at_the_same_time_are_not_mixed(server: Server) -> None:
    async def one(client: Any, user: str) -> None:
        headers = {"X-Tmem-User": user}
        for turn in range(3):
            place = f"Town{user}x{turn}"
            body = {"messages": [{"role": "user", "content": f"I live in {place}.", "name": "Ana"}]}
            assert (await client.post("/v1/memories", json=body, headers=headers)).status_code == 200
            said = await client.post("/v1/ask", json={"question": LYON["question"]}, headers=headers)
            assert said.json()["text"] == place

    async def all_of_them() -> None:
        async with server.client() as client:
            await asyncio.gather(*[one(client, f"u{number}") for number in range(8)])

    asyncio.run(all_of_them())


def test_an_answer_names_the_version_that_it_is_from_whatever_is_written_meanwhile(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana, answers = server.memory.scope(user_id="ana"), server.actions.answers

    def asked_while(happens: Callable[[], object]) -> tuple[str, str | None, list[str]]:
        def meanwhile(*args: Any) -> Any:
            found = answers(*args)
            happens()
            return found

        monkeypatch.setattr(server.actions, "answers", meanwhile)
        answer = server.memory.ask(LYON["question"], user_id="ana")
        return answer.text, answer.version, answer.pairs

    told = [(LYON["question"], LYON["answer"])]
    assert asked_while(lambda: ana.add(pairs=told))[1] is None
    [pair], before = ana.get_all(), ana.version
    assert asked_while(lambda: ana.update(pair["id"], "Nice")) == ("Lyon", before, [pair["id"]])
    [newer], before = ana.get_all(), ana.version
    assert asked_while(lambda: ana.forget([newer["id"]])) == ("Nice", before, [newer["id"]])
    before = ana.version
    assert asked_while(ana.erase) == ("Lyon", before, [pair["id"]]) and ana.version is None


def test_stopping_finishes_what_was_begun(make: Callable[..., Server]) -> None:
    server = make()

    async def life() -> Any:
        async with server.app.router.lifespan_context(server.app):
            server.actions.free.clear()
            async with server.client(**ANA) as client:
                message = {"role": "user", "content": "I live in Lyon.", "name": "Ana"}
                task = asyncio.create_task(client.post("/v1/memories", json={"messages": [message]}))
                await asyncio.sleep(0.2)
                task.cancel()  # who asked has gone
            asyncio.get_running_loop().call_later(0.0, server.actions.free.set)
            await asyncio.sleep(0.1)

    began = time.perf_counter()
    asyncio.run(life())
    assert time.perf_counter() - began < 60
    again, _ = open_memory(server.keys.home)
    with again:
        assert [row["answer"] for row in again.get_all(user_id="ana")] == ["Lyon"]


def test_health_and_one_document(server: Server) -> None:
    server.keys.make("ana", "ana")  # they need none
    assert server.ask("GET", "/healthz").json() == {"status": "ok"}
    assert server.ask("GET", "/readyz").json() == {"status": "ready"}
    document = server.ask("GET", "/openapi.json").json()
    assert document == server.ask("GET", "/openapi.json").json()
    assert {"/v1/chat/completions", "/v1/memories", "/v1/memories/{pair}/history", "/v1/why"} <= set(document["paths"])
    text = json.dumps(document)
    assert "HTTPValidationError" not in text and '"422"' not in text and "I live in Lyon." in text
    for path, item in document["paths"].items():
        for route in item.values():
            assert route["summary"] and ("4XX" in route["responses"]) == (path.startswith("/v1/") or path == "/metrics")


def test_an_agent_or_a_run_has_a_memory_of_its_own_by_every_way_to_name_it(server: Server) -> None:
    ana = {"X-Tmem-User": "ana"}
    told = {"pairs": [{"question": "Where does Ana live?", "answer": "Lyon"}], "agent_id": "cook"}
    assert server.ask("POST", "/v1/memories", json=told, headers=ana).status_code == 200
    cook = ana | {"X-Tmem-Agent": "cook"}

    def answers(reply: Any) -> list[str]:
        return [row["answer"] for row in reply.json()["results"]]

    assert answers(server.ask("GET", "/v1/memories", headers=ana)) == []
    assert answers(server.ask("GET", "/v1/memories", headers=cook)) == ["Lyon"]
    assert answers(server.ask("GET", "/v1/memories?agent_id=cook", headers=ana)) == ["Lyon"]
    for more in ({"agent_id": "cook"}, {"filters": {"user_id": "ana", "agent_id": "cook"}}):
        assert answers(server.ask("POST", "/v1/search", json={"query": "Ana", **more}, headers=ana)) == ["Lyon"]
    assert answers(server.ask("GET", "/v1/memories?run_id=1", headers=cook)) == []
    for memory, said in (({"agent_id": "cook"}, "Lyon"), ({}, "No information available")):
        reply = server.chat("Where does Ana live?", user="ana", memory=memory).json()
        assert reply["choices"][0]["message"]["content"] == said
    twice = server.ask("GET", "/v1/memories?agent_id=waiter", headers=cook)
    assert twice.status_code == 400 and "agent_id is said twice" in twice.json()["error"]["message"]
    alone = server.ask("GET", "/v1/memories?agent_id=cook")  # of whom?
    assert alone.status_code == 400 and "whose memory" in alone.json()["error"]["message"]
    key = server.keys.make("ben", "ben")
    assert answers(server.ask("GET", "/v1/memories?agent_id=cook", key)) == []  # Ben's cook is not Ana's


@pytest.mark.parametrize("path", ["/v1/memories/search", "/v1/search", "/search"])
def test_a_search_is_of_whom_its_body_and_its_filters_name_together(server: Server, path: str) -> None:
    for agent, city in ((None, "Lyon"), ("helper", "Nice")):
        told = {"pairs": [{"question": "What is Ana's city?", "answer": city}], "user_id": "ana", "agent_id": agent}
        assert server.ask("POST", "/v1/memories", json=told).status_code == 200

    def found(**body: Any) -> Any:
        return server.ask("POST", path, json={"query": "city", **body}).json()

    for body in (
        {"agent_id": "helper", "filters": {"user_id": "ana"}},
        {"user_id": "ana", "filters": {"agent_id": "helper"}},
        {"user_id": "ana", "agent_id": "helper", "filters": {"user_id": "ana"}},
        {"user_id": "ana", "agent_id": "helper", "filters": {}},
    ):
        assert [row["answer"] for row in found(**body)["results"]] == ["Nice"]
    assert [row["answer"] for row in found(filters={"user_id": "ana", "agent_id": None})["results"]] == ["Lyon"]
    for body, name in (
        ({"user_id": "ben", "filters": {"user_id": "ana"}}, "user_id"),
        ({"user_id": "ana", "agent_id": "cook", "filters": {"agent_id": "helper"}}, "agent_id"),
    ):
        error = found(**body)["error"]
        assert error["param"] == name and error["message"].startswith(f"{name} is ") and "\n" not in error["message"]


def test_what_mem0s_client_adds_is_of_one_user(server: Server) -> None:
    body = {
        "messages": [{"content": "I live in Lyon.", "name": "Ana"}],
        "user_id": "ben",
        "filters": {"user_id": "ana"},
    }
    reply = server.ask("POST", "/v3/memories/add/", json=body)
    assert reply.status_code == 400 and "user_id is 'ben'" in reply.json()["error"]["message"]
    body["user_id"] = "ana"
    assert server.ask("POST", "/v3/memories/add/", json=body).status_code == 200
    assert [row["user_id"] for row in server.memory.users()] == ["ana"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/ask", {"question": "Who?"}),
        ("POST", "/v1/forget", {"ids": ["x"]}),
        ("POST", "/v1/rollback", {"version": 1}),
        ("POST", "/v1/tag", {"version": 1, "name": "x"}),
        ("PUT", "/v1/memories/x", {"answer": "Nice"}),
    ],
)
def test_other_bodies_name_nobody(server: Server, method: str, path: str, body: Any) -> None:
    reply = server.ask(method, path, headers=ANA, json=body | {"user_id": "ana"})
    assert reply.status_code == 400 and reply.json()["error"]["message"] == "there is no user_id here"


def test_the_paths_of_mem0s_own_server(server: Server) -> None:
    told = {"messages": [{"role": "user", "content": "I live in Lyon.", "name": "Ana"}], "user_id": "ana"}
    [pair] = server.ask("POST", "/memories", json=told).json()["pairs"]
    of = f"/memories/{pair['id']}"
    assert server.ask("GET", "/memories?user_id=ana").json()["results"][0]["id"] == pair["id"]
    assert server.ask("GET", f"{of}?user_id=ana").json()["answer"] == "Lyon"
    assert server.ask("PUT", f"{of}?user_id=ana", json={"text": "Nice"}).status_code == 200
    [found] = server.ask("POST", "/search", json={"query": "Ana", "user_id": "ana"}).json()["results"]
    assert found["answer"] == "Nice"
    assert len(server.ask("GET", f"/memories/{found['id']}/history?user_id=ana").json()["results"]) == 2
    assert server.ask("DELETE", f"/memories/{found['id']}?user_id=ana").status_code == 200
    assert server.ask("DELETE", "/memories?user_id=ana").status_code == 200
    assert server.ask("POST", "/reset?user_id=ana").json() == {"erased": True}
    key = server.keys.make("ben", "ben")
    paths = ("/memories", of, f"{of}/history")
    assert [server.ask("GET", path, key).status_code for path in paths] == [200, 404, 404]
    assert all(server.ask("GET", path).status_code == 401 for path in paths)


@pytest.mark.parametrize("error", [Lost("db.example.org/tmem: refused; nothing was changed"), Busy("/home: busy")])
def test_a_ledger_that_cannot_be_reached_is_for_later(error: Exception) -> None:
    refusal = refusal_of(error, "/home")
    assert (refusal.status, refusal.retry) == (503, 5) and "example" not in str(refusal)
