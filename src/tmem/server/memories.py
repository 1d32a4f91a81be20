"""Our own routes: what the memory of a user holds, and changing it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from tmem.errors import NotFound
from tmem.server.replies import Json
from tmem.server.shapes import AddRequest, AskRequest, RollbackRequest, SearchRequest, UpdateRequest
from tmem.server.who import on_memory, served
from tmem.store.memory import CheckedMemory
from tmem.store.records import Receipt

Status = Literal["active", "pending", "superseded", "quarantined", "forgotten", "all"]
router = APIRouter(tags=["memories"])


class Lines(Response):
    media_type = "application/x-ndjson"


@router.post("/v1/memories", summary="Tell something; the receipt says what became of it")
async def add(body: AddRequest, request: Request) -> Response:
    pairs = [(pair.question, pair.answer) for pair in body.pairs]
    told = body.messages
    messages = told if isinstance(told, str) else [one.model_dump(exclude_none=True) for one in told]

    def call(memory: CheckedMemory) -> Receipt:
        more: dict[str, Any] = {"timestamp": body.timestamp, "metadata": body.metadata}
        receipt = memory.add(messages, pairs=pairs, infer=body.infer, absorb=body.wait, **more)
        if not body.wait:
            served(request).work.later(memory.absorb)
        return receipt

    return Json((await on_memory(request, call, "work")).record())


@router.get("/v1/memories", summary="All pairs, those that hold by default")
async def get_all(request: Request, status: Status = "active") -> Response:
    chosen = None if status == "all" else status
    return Json({"results": await on_memory(request, lambda memory: memory.get_all(status=chosen), "look")})


@router.delete("/v1/memories", summary="Forget all that this user told")
async def delete_all(request: Request) -> Response:
    def call(memory: CheckedMemory) -> Receipt:
        return memory.delete_all() if memory.known else Receipt("forget", None)

    return Json((await on_memory(request, call, "work")).record())


@router.post("/v1/memories/search", summary="The pairs whose words fit best")
async def search(body: SearchRequest, request: Request) -> Response:
    rows = await on_memory(request, lambda memory: memory.search(body.query, top_k=body.top_k), "look")
    return Json({"results": rows})


@router.get("/v1/memories/{pair}", summary="One pair")
async def get(request: Request, pair: str) -> Response:
    return Json(await on_memory(request, lambda memory: memory.get(pair), "look"))


@router.put("/v1/memories/{pair}", summary="Give a pair another answer: a new pair takes its place")
async def update(body: UpdateRequest, request: Request, pair: str) -> Response:
    def call(memory: CheckedMemory) -> Receipt:
        memory.get(pair)  # before anything is made for a user who was never heard of
        return memory.update(pair, body.answer)

    return Json((await on_memory(request, call, "work")).record())


@router.delete("/v1/memories/{pair}", summary="Forget a pair: weights as if it had never been told")
async def delete(request: Request, pair: str) -> Response:
    def call(memory: CheckedMemory) -> Receipt:
        memory.get(pair)
        return memory.delete(pair)

    return Json((await on_memory(request, call, "work")).record())


@router.get("/v1/memories/{pair}/history", summary="A pair and those whose place it took")
async def history(request: Request, pair: str) -> Response:
    return Json({"results": await on_memory(request, lambda memory: memory.history(pair), "look")})


@router.post("/v1/ask", summary="Ask the memory, and see what the answer is from")
async def ask(body: AskRequest, request: Request) -> Response:
    def call(memory: CheckedMemory) -> dict[str, Any]:
        memory.settle()
        found = memory.ask(body.question, version=body.version, unknown=body.unknown, show_pairs=body.show_pairs)
        told = {"source": found.source, "pairs": found.pairs, "shown": found.shown}
        return {"text": found.text, **told, "version": found.version, "milliseconds": found.milliseconds}

    return Json(await on_memory(request, call, "talk"))


@router.get("/v1/versions", summary="All versions of the weights, oldest first")
async def versions(request: Request) -> Response:
    return Json({"results": await on_memory(request, lambda memory: memory.versions(), "look")})


@router.post("/v1/rollback", summary="Go back to an earlier version; what was forgotten since stays forgotten")
async def rollback(body: RollbackRequest, request: Request) -> Response:
    def call(memory: CheckedMemory) -> Receipt:
        if not memory.known:
            raise NotFound(f"there is no version {body.version!r} in this memory")
        return memory.rollback(body.version)

    return Json((await on_memory(request, call, "work")).record())


@router.get("/v1/why", summary="Which pairs moved an answer")
async def why(request: Request, question: str, answer: str | None = None) -> Response:
    return Json({"results": await on_memory(request, lambda memory: memory.why(question, answer=answer), "work")})


@router.get("/v1/export", summary="The ledger as JSON lines, which tmem import takes in", response_class=Lines)
async def export(request: Request) -> Response:
    def call(memory: CheckedMemory) -> bytes:
        with TemporaryDirectory() as folder:
            memory.export(Path(folder) / "ledger.jsonl")
            return (Path(folder) / "ledger.jsonl").read_bytes()

    return Lines(await on_memory(request, call, "look"))
