"""mem0's own client against the server: ids in ``filters`` for search and list, as keywords elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from server.serving import Server

httpx = pytest.importorskip("httpx")


@pytest.fixture
def mem0(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MEM0_TELEMETRY", "False")
    return pytest.importorskip("mem0", reason="mem0ai is not installed")


class Transport(httpx.BaseTransport):
    """The application for a client that does not wait asynchronously."""

    def __init__(self, app: Any) -> None:
        self.inner = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def handle_request(self, request: Any) -> Any:
        async def run() -> Any:
            reply = await self.inner.handle_async_request(request)
            return httpx.Response(reply.status_code, headers=reply.headers, content=await reply.aread())

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(60)


@pytest.fixture
def client(server: Server, mem0: Any) -> Iterator[Any]:
    transport = Transport(server.app)
    key = server.keys.make("phone", "ana")
    yield mem0.MemoryClient(api_key=key, host="http://localhost", client=httpx.Client(transport=transport))
    transport.loop.call_soon_threadsafe(transport.loop.stop)


def test_a_life_with_it(server: Server, client: Any) -> None:
    told = [{"role": "user", "name": "Ana", "content": "I live in Lyon."}, {"role": "assistant", "content": "Nice!"}]
    [added] = client.add(told, user_id="ana", metadata={"from": "chat"}, timestamp=1683547200)["results"]
    assert added["event"] == "ADD" and added["memory"] == "Where does Ana live? Lyon"
    for filters in ({"user_id": "ana"}, {"AND": [{"user_id": "ana"}]}):
        [found] = client.search("live", filters=filters, top_k=5)["results"]
        assert found["id"] == added["id"] and found["metadata"] == {"from": "chat"}
    assert client.get(added["id"])["answer"] == "Lyon"
    client.update(added["id"], text="Nice")
    page = client.get_all(filters={"user_id": "ana"}, page=1, page_size=1)
    assert page["count"] == 1 and page["results"][0]["answer"] == "Nice"
    assert client.get_all(filters={"user_id": "ana"}, page=2, page_size=1)["results"] == []
    assert [row["answer"] for row in client.history(page["results"][0]["id"])] == ["Nice", "Lyon"]
    client.delete(page["results"][0]["id"])
    [restored] = client.get_all(filters={"user_id": "ana"})["results"]
    assert restored["answer"] == "Lyon" and restored["created_at"].startswith("20")
    client.delete_all(user_id="ana")
    assert server.memory.scope(user_id="ana").get_all() == []


def test_an_agent_has_a_memory_of_its_own(server: Server, client: Any) -> None:
    told = [{"role": "user", "name": "Ana", "content": "I live in Lyon."}]
    client.add(told, user_id="ana", agent_id="cook", run_id="1")
    own = {"AND": [{"user_id": "ana"}, {"agent_id": "cook"}, {"run_id": "1"}]}
    assert client.search("live", filters=own)["results"][0]["answer"] == "Lyon"
    for other in ({"user_id": "ana"}, {"user_id": "ana", "agent_id": "cook"}):
        assert client.get_all(filters=other)["results"] == []
    client.delete_all(user_id="ana", agent_id="cook", run_id="1")
    assert client.get_all(filters=own)["results"] == []


def test_what_it_could_ask_and_would_not_get_is_refused(server: Server, client: Any, mem0: Any) -> None:
    wrong: list[tuple[Any, str]] = [
        (lambda: client.add("I live in Lyon.", user_id="ben"), "may not name another user"),
        (lambda: client.search("x", filters={"user_id": "ben"}), "may not name another user"),
        (lambda: client.search("x", filters={"app_id": "a"}), "only say one user_id"),
        (lambda: client.search("x", filters={"OR": [{"user_id": "ana"}]}), "only say one user_id"),
        (lambda: client.search("x", filters={"AND": [{"user_id": "ana"}, {"user_id": "b"}]}), "only say one user_id"),
        (lambda: client.search("x", filters={"user_id": "ana"}, threshold=0.5), "there is no threshold here"),
        (lambda: client.add("x", user_id="ana", expiration_date="2027-01-01"), "there is no expiration_date here"),
        (lambda: client.add("x", user_id="ana", app_id="a"), "there is no app_id here"),
        (lambda: client.add("x", user_id="ana", agent_id=" "), "agent_id: a name has 1 to 200"),
        (lambda: client.get("never-was"), "there is no pair never-was"),
    ]
    for call, said in wrong:
        with pytest.raises(mem0.exceptions.MemoryError, match=said):
            call()
    assert not server.memory.scope(user_id="ana").known and not server.memory.scope(user_id="ben").known


def test_the_key_is_looked_at(server: Server, mem0: Any) -> None:
    server.keys.make("phone", "ana")
    with pytest.raises(ValueError, match="401"):
        own = httpx.Client(transport=Transport(server.app))
        mem0.MemoryClient(api_key="tmem-wrong", host="http://localhost", client=own)
