"""MCP by its official SDK: tools that add to a memory, ask it and change it, and resources that show it.

The same over HTTP (``/mcp`` of the server, for whom a request is about; no sessions, so that there is none to take
over) and over standard input and output (``tmem mcp``, for one memory). No tool takes the name of a user. An argument
that a tool does not have is refused; a text stays a text, whatever it looks like.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import mcp_types as types
from mcp import MCPError
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from pydantic import BaseModel, Field, ValidationError

from tmem.errors import UsageError
from tmem.server.dependencies import on_memory
from tmem.server.replies import as_json, refusal_of
from tmem.server.routes.schemas import Own, WrittenPair
from tmem.store.checked import CheckedMemory

Call = Callable[[CheckedMemory], dict[str, Any]]
PoolName = Literal["talk", "work", "look"]
OnMemory = Callable[
    [Any, Call, PoolName], Awaitable[dict[str, Any]]
]  # the HTTP request or None, a call, where it waits
log = logging.getLogger("tmem.server")
INSTRUCTIONS = (
    "A memory that is kept in a model's weights. Use ask for what was told earlier, add for what should be known "
    "later, search or list to see the pairs of question and answer that are kept, forget to take some out for good."
)


class Add(Own):
    text: str = Field("", description="What was said, in whole sentences, as it was said.")
    name: str = Field("", description='Who said it, for "I" and "my" in the text.')
    timestamp: str = Field("", description="When it was said, as 2026-05-08 or 2026-05-08T13:56.")
    pairs: list[WrittenPair] = Field([], description="Questions with answers, to be kept as they are.")


class Ask(Own):
    question: str = Field(description="A question that names whom or what it is about.")


class Search(Own):
    query: str = Field(description="Words that the pairs should have.")
    top_k: int = Field(10, ge=1, le=100, description="How many pairs at most.")


class List(Own):
    status: Literal["active", "pending", "superseded", "quarantined", "all"] = Field(
        "active", description="active: what holds now."
    )
    limit: int = Field(50, ge=1, le=500, description="How many pairs at most, the newest of all.")
    offset: int = Field(0, ge=0, description="How many of the newest to pass over.")


class Forget(Own):
    ids: list[str] = Field(min_length=1, description="Ids of pairs, as list and search give them.")


class Why(Own):
    question: str = Field(description="The question that was asked.")
    answer: str = Field("", description="The answer to explain; the memory's own if left out.")


def add(memory: CheckedMemory, given: Add) -> dict[str, Any]:
    if not given.text.strip() and not given.pairs:
        raise UsageError("nothing to add: give text, or pairs of question and answer")
    told = {"role": "user", "content": given.text, **({"name": given.name} if given.name else {})}
    pairs = [(pair.question, pair.answer) for pair in given.pairs]
    return memory.add(told, pairs=pairs, timestamp=given.timestamp or None).record()


def ask(memory: CheckedMemory, given: Ask) -> dict[str, Any]:
    memory.settle()
    found = memory.ask(given.question)
    pairs = [memory.get(pair) for pair in found.pairs]
    return {"answer": found.text, "source": found.source, "version": found.version, "pairs": pairs}


def search(memory: CheckedMemory, given: Search) -> dict[str, Any]:
    return {"pairs": memory.search(given.query, top_k=given.top_k)}


def list_(memory: CheckedMemory, given: List) -> dict[str, Any]:
    rows = memory.get_all(status=None if given.status == "all" else given.status)
    return {"total": len(rows), "pairs": rows[::-1][given.offset : given.offset + given.limit]}


def forget(memory: CheckedMemory, given: Forget) -> dict[str, Any]:
    return memory.forget(given.ids).record()


def why(memory: CheckedMemory, given: Why) -> dict[str, Any]:
    return {"pairs": memory.why(given.question, answer=given.answer or None)}


@dataclass(frozen=True)
class Tool:
    """A tool. ``takes``: its arguments; ``pool``: where its calls wait, of those in ``dependencies.Served``."""

    title: str
    about: str
    takes: type[Own]
    call: Callable[[CheckedMemory, Any], dict[str, Any]]
    pool: PoolName = "work"
    reads: bool = False  # nothing changes by it
    destroys: bool = False

    def listed(self, name: str) -> types.Tool:
        """The tool as clients see it."""
        hints = types.ToolAnnotations(
            read_only_hint=self.reads,
            destructive_hint=self.destroys,
            idempotent_hint=self.reads,
            open_world_hint=False,
        )
        schema = self.takes.model_json_schema()
        return types.Tool(name=name, title=self.title, description=self.about, input_schema=schema, annotations=hints)


TOOLS = {
    "add": Tool(
        "Remember",
        "Remember what was said. Facts are read out of the text as pairs of question and answer and written into "
        "the weights; the receipt names each pair, and what was rejected with the reason.",
        Add,
        add,
    ),
    "ask": Tool(
        "Ask the memory",
        "Answer a question from the memory. source says what the answer is from: weights, text (a kept pair), or "
        "nothing: it was never told.",
        Ask,
        ask,
        pool="talk",
        reads=True,
    ),
    "search": Tool("Search", "The kept pairs whose words fit best.", Search, search, pool="look", reads=True),
    "list": Tool("List", "The kept pairs, newest first.", List, list_, pool="look", reads=True),
    "forget": Tool(
        "Forget",
        "Forget pairs for good: the weights become what they would be if these had never been told. Cannot be undone.",
        Forget,
        forget,
        destroys=True,
    ),
    "why": Tool(
        "Why",
        "Which pairs moved an answer: its log-probability with each of them (with) and trained without it (without).",
        Why,
        why,
        reads=True,
    ),
}


def pairs(memory: CheckedMemory) -> dict[str, Any]:
    return {"pairs": memory.get_all()}


def versions(memory: CheckedMemory) -> dict[str, Any]:
    left_out = ("weights", "account")
    rows = [{key: value for key, value in row.items() if key not in left_out} for row in memory.versions()]
    return {"versions": rows}


RESOURCES: dict[str, tuple[str, str, Call]] = {
    "tmem://pairs": ("pairs", "All pairs of question and answer that hold now, oldest first.", pairs),
    "tmem://versions": ("versions", "All versions of the weights, oldest first; the last is in force.", versions),
}


def make_tools(run: OnMemory, version: str, home: str) -> Server[Any]:
    """An MCP server whose calls are made by ``run``; of errors it tells what :func:`refusal_of` tells of them."""

    async def list_tools(_: ServerRequestContext, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool.listed(name) for name, tool in TOOLS.items()])

    async def call_tool(context: ServerRequestContext, asked: types.CallToolRequestParams) -> types.CallToolResult:
        tool = TOOLS.get(asked.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {asked.name!r:.80}: there are {', '.join(TOOLS)}")
        try:
            given = tool.takes.model_validate(asked.arguments or {})
            found = await run(context.request, lambda memory: tool.call(memory, given), tool.pool)
        except ValidationError as error:
            return _failed(_wrong(error, tool.takes))
        except Exception as error:
            return _failed(_told(error, home))
        return types.CallToolResult(content=[types.TextContent(text=as_json(found))], structured_content=found)

    async def list_resources(_: ServerRequestContext, __: Any) -> types.ListResourcesResult:
        rows = [
            types.Resource(uri=uri, name=name, description=about, mime_type="application/json")
            for uri, (name, about, _) in RESOURCES.items()
        ]
        return types.ListResourcesResult(resources=rows)

    async def read_resource(
        context: ServerRequestContext, asked: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(asked.uri)
        if uri not in RESOURCES:
            raise MCPError(types.INVALID_PARAMS, f"there is no resource {uri!r:.80}: there are {', '.join(RESOURCES)}")
        try:
            found = await run(context.request, RESOURCES[uri][2], "look")
        except Exception as error:
            raise MCPError(types.INVALID_REQUEST, _told(error, home)) from None
        content = types.TextResourceContents(uri=uri, mime_type="application/json", text=as_json(found))
        return types.ReadResourceResult(contents=[content])

    return Server(
        "tmem",
        version=version,
        title="TMEM",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


class OverHttp:
    """An ASGI endpoint for streamable HTTP, while :meth:`running`. Who may ask is looked at before it."""

    def __init__(self, version: str, home: str) -> None:
        self._server = make_tools(on_memory, version, home)
        self._manager: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """For as long as the application runs."""
        # Host and Origin were looked at by the guard, as for every route.
        self._manager = StreamableHTTPSessionManager(self._server, stateless=True)
        async with self._manager.run():
            yield

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        assert self._manager is not None, "the application was not started"
        await self._manager.handle_request(scope, receive, send)


async def serve_stdio(memory: CheckedMemory, version: str) -> None:
    """Serve one memory over standard input and output, until the input ends."""

    async def run(_: Any, call: Call, __: PoolName) -> dict[str, Any]:
        return await asyncio.shield(asyncio.to_thread(call, memory))

    server = make_tools(run, version, str(memory.home.path))
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def _told(error: Exception, home: str) -> str:
    """What a client is told; what nobody foresaw is logged instead."""
    refusal = refusal_of(error, home)
    if refusal.status == 500:
        log.exception("an MCP request failed")
    return str(refusal)


def _wrong(error: ValidationError, takes: type[BaseModel]) -> str:
    """The first thing that is wrong with the arguments, in one line that says what there is."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    said = "there is no such argument" if first["type"] == "extra_forbidden" else first["msg"]
    return f"{name}: {said}; this tool takes {', '.join(takes.model_fields)}"
