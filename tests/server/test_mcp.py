"""Tools and resources by MCP, used by the SDK's own client: in this process, over HTTP and over a process's pipes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from server.serving import Server

from tmem.server.mcp_tools import TOOLS, make_tools

mcp = pytest.importorskip("mcp")
http = pytest.importorskip("httpx2")
MODES = ("auto", "legacy")


def tools_of(server: Server, user: str = "ana") -> Any:
    async def run(_: Any, call: Any, __: str) -> Any:
        return await asyncio.to_thread(call, server.memory.scope(user_id=user))

    return make_tools(run, "1", str(server.keys.home))


@asynccontextmanager
async def over_http(server: Server, key: str | None = None, mode: str = "auto", **headers: str) -> AsyncIterator[Any]:
    """The SDK's client at ``/mcp``; the application has to have been started."""
    from mcp.client.streamable_http import streamable_http_client

    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    own = http.AsyncClient(transport=http.ASGITransport(server.app), headers=headers)
    address = streamable_http_client("http://localhost/mcp", http_client=own)
    async with own, mcp.Client(address, mode=mode) as client:
        yield client


def text(result: Any) -> str:
    [content] = result.content
    return str(content.text)


@pytest.mark.parametrize("mode", MODES)
def test_a_life_with_it(server: Server, run: Callable[..., Any], mode: str) -> None:
    async def life() -> None:
        async with mcp.Client(tools_of(server), mode=mode) as client:
            listed = (await client.list_tools()).tools
            assert [tool.name for tool in listed] == list(TOOLS)
            assert all(tool.input_schema["additionalProperties"] is False for tool in listed)
            assert [tool.name for tool in listed if tool.annotations.destructive_hint] == ["forget"]

            async def call(tool: str, /, **given: Any) -> Any:
                result = await client.call_tool(tool, given)
                assert not result.is_error, text(result)
                assert json.loads(text(result)) == result.structured_content
                return result.structured_content

            [pair] = (await call("add", text="I live in Lyon.", name="Ana"))["pairs"]
            assert pair["answer"] == "Lyon"
            asked = await call("ask", question="Where does Ana live?")
            assert asked["answer"] == "Lyon" and [row["id"] for row in asked["pairs"]] == [pair["id"]]
            assert (await call("search", query="lives Ana"))["pairs"][0]["id"] == pair["id"]
            assert (await call("list"))["total"] == 1
            await call("add", pairs=[{"question": "Which tea?", "answer": "mint"}])
            rows = await call("list", limit=1)
            assert rows["total"] == 2 and rows["pairs"][0]["answer"] == "mint"  # the newest first
            assert (await call("list", offset=1))["pairs"][0]["answer"] == "Lyon"
            assert (await call("why", question="Where does Ana live?", answer="Lyon"))["pairs"]
            kept = {str(one.uri): one for one in (await client.list_resources()).resources}
            shown = {uri: json.loads((await client.read_resource(uri)).contents[0].text) for uri in kept}
            assert [row["answer"] for row in shown["tmem://pairs"]["pairs"]] == ["Lyon", "mint"]
            assert [row["kind"] for row in shown["tmem://versions"]["versions"]] == ["add", "add"]
            assert (await call("forget", ids=[pair["id"]]))["kind"] == "forget"
            assert (await call("ask", question="Where does Ana live?"))["source"] == "nothing"

    run(life())


def test_texts_stay_as_they_are(server: Server, run: Callable[..., Any]) -> None:
    async def texts() -> None:
        async with mcp.Client(tools_of(server)) as client:
            for answer in ('["a", "b"]', "null", "5", '{"a": 1}'):
                given = {"pairs": [{"question": f"What is {answer}?", "answer": answer}]}
                result = await client.call_tool("add", given)
                assert result.structured_content["pairs"][0]["answer"] == answer

    run(texts())


@pytest.mark.parametrize(
    ("tool", "given", "said"),
    [
        (
            "search",
            {"query": "tea", "userId": "ben"},
            "userId: there is no such argument; this tool takes query, top_k",
        ),
        ("search", {}, "query: Field required"),
        ("search", {"query": "tea", "top_k": 0}, "top_k: Input should be greater"),
        ("ask", {"question": None}, "question: Input should be a valid string"),
        ("add", {}, "nothing to add"),
        ("add", {"text": "I live in Lyon.", "timestamp": "08/05/2023"}, "timestamp"),
        ("forget", {"ids": []}, "ids: List should have at least 1 item"),
        ("forget", {"ids": ["never-was"]}, "there is no pair never-was in this memory"),
        ("ask", {"question": "What breaks?"}, "something went wrong in the server; its log says where"),
    ],
)
def test_errors_are_one_line_that_a_model_can_read(
    server: Server, run: Callable[..., Any], tool: str, given: Any, said: str
) -> None:
    async def wrong() -> None:
        async with mcp.Client(tools_of(server)) as client:
            result = await client.call_tool(tool, given)
            assert result.is_error and said in text(result) and "\n" not in text(result)
            assert "secret" not in text(result)

    run(wrong())
    assert tool != "forget" or not server.memory.scope(user_id="ana").known


def test_what_is_not_there(server: Server, run: Callable[..., Any]) -> None:
    async def missing() -> None:
        async with mcp.Client(tools_of(server)) as client:
            with pytest.raises(mcp.MCPError, match="there are add, ask"):
                await client.call_tool("erase", {})
            with pytest.raises(mcp.MCPError, match="there are tmem://pairs"):
                await client.read_resource("tmem://users")

    run(missing())


@pytest.mark.parametrize("mode", MODES)
def test_over_http_a_key_says_whose_memory_it_is(server: Server, run: Callable[..., Any], mode: str) -> None:
    ana, ben = server.keys.make("ana", "ana"), server.keys.make("ben", "ben")
    program = server.keys.make("program", None)

    async def life() -> None:
        async with server.app.router.lifespan_context(server.app):
            async with over_http(server, ana, mode) as client:
                told = await client.call_tool("add", {"text": "I live in Lyon.", "name": "Ana"})
                [pair] = told.structured_content["pairs"]
            async with over_http(server, ben, mode) as client:
                assert (await client.call_tool("list", {})).structured_content["total"] == 0
                one = text(await client.call_tool("forget", {"ids": [pair["id"]]}))
                other = text(await client.call_tool("forget", {"ids": [pair["id"][::-1]]}))
                assert one.replace(pair["id"], "-") == other.replace(pair["id"][::-1], "-")
            async with over_http(server, program, mode) as client:
                assert "whose memory?" in text(await client.call_tool("list", {}))
                with pytest.raises(mcp.MCPError, match="whose memory"):
                    await client.read_resource("tmem://pairs")
            async with over_http(server, program, mode, **{"X-Tmem-User": "ana"}) as client:
                assert (await client.call_tool("list", {})).structured_content["total"] == 1
            async with over_http(server, ben, mode, **{"X-Tmem-User": "ana"}) as client:
                result = await client.call_tool("list", {})
                assert result.is_error and "may not name another user" in text(result)

    run(life())


def test_over_http_the_guard_stands_before_it(make: Callable[..., Server], run: Callable[..., Any]) -> None:
    """Host, Origin and keys are looked at as for every route."""
    server = make()
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    sent = {"Accept": "application/json, text/event-stream", "X-Tmem-User": "ana"}

    def status(**more: str) -> int:
        return int(server.ask("POST", "/mcp", json=body, headers=sent | more).status_code)

    async def life() -> None:
        async with server.app.router.lifespan_context(server.app), server.client(**sent) as client:
            assert (await client.post("/mcp", json=body)).status_code == 200
            assert (await client.get("/mcp")).status_code == 405  # a stream that only waits would hold up a stop

    assert status(Host="evil.example") == 403 and status(Origin="https://evil.example") == 403
    run(life())
    server.keys.make("ana", "ana")
    assert server.ask("GET", "/mcp").status_code == 401
    assert status() == 401 and status(Authorization="Bearer tmem-wrong") == 401


def test_over_pipes_as_a_client_starts_it(tmp_path: Path, run: Callable[..., Any]) -> None:
    """A process with the smallest embedded model; nothing but messages is on its standard output."""
    home = ["--home", str(tmp_path / "home"), "-m", "persona-nano", "--user", "maria"]
    started = mcp.StdioServerParameters(command=sys.executable, args=["-m", "tmem", "mcp", *home])
    started.env = {"PYTHONPATH": ":".join(sys.path)}

    async def life() -> None:
        async with mcp.Client(started, read_timeout_seconds=240) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == list(TOOLS)
            told = await client.call_tool("add", {"text": "I bought a camper to get around.", "name": "Maria"})
            assert not told.is_error, text(told)
            asked = await client.call_tool("ask", {"question": "How does Maria get around?"})
            assert asked.structured_content["answer"] == "camper"
            assert asked.structured_content["source"] == "weights"

    run(life())
