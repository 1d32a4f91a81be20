"""The paths of mem0's own client (mem0ai 2.2, ``MemoryClient(host=...)``), answered in its shapes.

They differ from ours by the slash at the end. Of what the client can send, whatever would not be heeded is refused.
The paths of mem0's own server, which has no /v1, are ours, too.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.responses import Response

from tmem.server.dependencies import on_memory
from tmem.server.replies import Json, Refusal
from tmem.server.routes import memories
from tmem.server.routes.schemas import Own, Told, UpdateRequest, Whose
from tmem.store.checked import CheckedMemory
from tmem.store.results import PairRecord, Record

OF_ITS_SERVER = ("/memories", "/memories/{pair}", "/memories/{pair}/history", "/search", "/reset")
router = APIRouter(include_in_schema=False)


class Add(Whose):
    messages: list[Told]
    filters: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    infer: bool = True
    timestamp: int | None = None  # seconds


class Find(Own):
    filters: dict[str, Any] | None = None


class Search(Find):
    query: str
    top_k: int = Field(10, ge=1, le=10_000)


@router.get("/v1/ping/")
async def ping(_: Request) -> Response:
    return Json({"status": "ok", "org_id": "tmem", "project_id": "tmem"})  # it does not start without the two


@router.post("/v3/memories/add/")
async def add(body: Add, request: Request) -> Response:
    told = [one.model_dump(exclude_none=True) for one in body.messages]
    when = None if body.timestamp is None else f"{body.timestamp} s"

    def call(memory: CheckedMemory) -> list[Record]:
        receipt = memory.add(told, infer=body.infer, timestamp=when, metadata=body.metadata)
        return [_shape(row) | {"event": "UPDATE" if row["supersedes"] else "ADD"} for row in receipt.pairs]

    named = memories.both_say(body.ids, _ids(body.filters))
    return Json({"results": await on_memory(request, call, "work", named)})


@router.post("/v3/memories/")
async def get_all(
    body: Find, request: Request, page: int = Query(1, ge=1), page_size: int = Query(100, ge=1, le=10_000)
) -> Response:
    rows = await on_memory(request, lambda memory: memory.get_all()[::-1], "look", _ids(body.filters))
    part = rows[(page - 1) * page_size : page * page_size]
    links = {"next": None, "previous": None}  # the client asks for pages by their number
    return Json({"count": len(rows), **links, "results": [_shape(row) for row in part]})


@router.post("/v3/memories/search/")
async def search(body: Search, request: Request) -> Response:
    named = _ids(body.filters)
    rows = await on_memory(request, lambda memory: memory.search(body.query, top_k=body.top_k), "look", named)
    return Json({"results": [_shape(row) for row in rows]})


@router.get("/v1/memories/{pair}/")
async def get(request: Request, pair: str) -> Response:
    return Json(_shape(await on_memory(request, lambda memory: memory.get(pair), "look")))


@router.get("/v1/memories/{pair}/history/")
async def history(request: Request, pair: str) -> Response:
    rows = await on_memory(request, lambda memory: memory.history(pair), "look")
    return Json([_shape(row) for row in rows])


@router.put("/v1/memories/{pair}/")
async def update(body: UpdateRequest, request: Request, pair: str) -> Response:
    return await memories.update(body, request, pair)


@router.delete("/v1/memories/{pair}/")
async def delete(request: Request, pair: str) -> Response:
    return await memories.delete(request, pair)


@router.delete("/v1/memories/")
async def delete_all(request: Request) -> Response:
    return await memories.delete_all(request)


for own in memories.router.routes:
    if isinstance(own, APIRoute) and own.path.removeprefix("/v1") in OF_ITS_SERVER:
        router.add_api_route(
            own.path.removeprefix("/v1"), own.endpoint, methods=sorted(own.methods or ()), name=own.name
        )


def _ids(filters: dict[str, Any] | None) -> dict[str, str | None]:
    """Whom filters name, also as ``{"AND": [...]}``. Raises :class:`Refusal` for whatever else they ask."""
    parts = [filters or {}]
    if filters and filters.keys() == {"AND"} and isinstance(filters["AND"], list):
        parts = filters["AND"]
    named = dict[str, str | None]()
    for part in parts:
        for name, value in part.items() if isinstance(part, dict) else [(str(part), None)]:
            if name not in Whose.model_fields or not isinstance(value, str) or named.get(name, value) != value:
                what = "one user_id, agent_id and run_id"
                raise Refusal(400, f"filters can only say {what} here, not {name!r:.80}", "filters")
            named[name] = value
    return named


def _shape(row: PairRecord) -> Record:
    """A pair as mem0 has memories; with its parts."""
    question, answer = row["question"], row["answer"]
    kept = {"id": row["id"], "question": question, "answer": answer, "metadata": row["metadata"]}
    return kept | {"memory": f"{question} {answer}", "created_at": row["created"]}
