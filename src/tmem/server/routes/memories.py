"""Our own routes: what the memory of a user holds, and changing it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from tmem.server.dependencies import on_memory, served
from tmem.server.replies import Json, Refusal
from tmem.server.routes.openapi_examples import ANSWER, CHANGES, MOVED, PAIR, RECEIPT, STATS, VERIFIED, VERSION, shown
from tmem.server.routes.schemas import (
    AddRequest,
    AskRequest,
    ForgetRequest,
    RollbackRequest,
    SearchRequest,
    TagRequest,
    UpdateRequest,
)
from tmem.store.checked import CheckedMemory
from tmem.store.results import Receipt

Status = Literal["active", "pending", "superseded", "quarantined", "forgotten", "all"]
router = APIRouter(tags=["memories"])


class Lines(Response):
    media_type = "application/x-ndjson"


@router.post("/v1/memories", summary="Tell something; the receipt says what became of it", responses=shown(RECEIPT))
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

    return Json((await on_memory(request, call, "work", body.ids)).record())


@router.get("/v1/memories", summary="All pairs, those that hold by default", responses=shown({"results": [PAIR]}))
async def get_all(request: Request, status: Status = "active") -> Response:
    chosen = None if status == "all" else status
    return Json({"results": await on_memory(request, lambda memory: memory.get_all(status=chosen), "look")})


@router.delete("/v1/memories", summary="Forget all that this user told", responses=shown(RECEIPT))
async def delete_all(request: Request) -> Response:
    return Json((await on_memory(request, lambda memory: memory.delete_all(), "work")).record())


@router.post("/v1/memories/search", summary="The pairs whose words fit best", responses=shown({"results": [PAIR]}))
@router.post("/v1/search", summary="The same under another name", responses=shown({"results": [PAIR]}))
async def search(body: SearchRequest, request: Request) -> Response:
    named = both_say(body.ids, body.filters.ids if body.filters else {})
    rows = await on_memory(request, lambda memory: memory.search(body.query, top_k=body.top_k), "look", named)
    return Json({"results": rows})


def both_say(ids: Mapping[str, str | None], filters: Mapping[str, str | None]) -> dict[str, str]:
    """Whom a body and its filters name together. Raises :class:`Refusal` where they name two."""
    named = {name: value for name, value in ids.items() if value is not None}
    for name, value in filters.items():
        if value is not None and named.setdefault(name, value) != value:
            what = f"{name} is {named[name]!r:.80} in the body and {value!r:.80} in its filters: name one"
            raise Refusal(400, what, name)
    return named


@router.get("/v1/memories/{pair}", summary="One pair", responses=shown(PAIR))
async def get(request: Request, pair: str) -> Response:
    return Json(await on_memory(request, lambda memory: memory.get(pair), "look"))


@router.put(
    "/v1/memories/{pair}",
    summary="Give a pair another answer: a new pair takes its place",
    responses=shown(RECEIPT | {"kind": "update"}),
)
async def update(body: UpdateRequest, request: Request, pair: str) -> Response:
    changed = await on_memory(request, lambda memory: memory.update(pair, body.answer), "work")
    return Json(changed.record())


@router.delete(
    "/v1/memories/{pair}",
    summary="Forget a pair: weights as if it had never been told",
    responses=shown(RECEIPT | {"kind": "forget", "pairs": []}),
)
async def delete(request: Request, pair: str) -> Response:
    return await _forget(request, [pair], "replay")


@router.post(
    "/v1/forget", summary="Forget several pairs at once", responses=shown(RECEIPT | {"kind": "forget", "pairs": []})
)
async def forget(body: ForgetRequest, request: Request) -> Response:
    return await _forget(request, body.ids, body.mode)


async def _forget(request: Request, ids: list[str], mode: str) -> Response:
    return Json((await on_memory(request, lambda memory: memory.forget(ids, mode=mode), "work")).record())


@router.get(
    "/v1/memories/{pair}/history",
    summary="A pair and those whose place it took",
    responses=shown({"results": [PAIR]}),
)
async def history(request: Request, pair: str) -> Response:
    return Json({"results": await on_memory(request, lambda memory: memory.history(pair), "look")})


@router.post("/v1/ask", summary="Ask the memory, and see what the answer is from", responses=shown(ANSWER))
async def ask(body: AskRequest, request: Request) -> Response:
    def call(memory: CheckedMemory) -> dict[str, Any]:
        memory.settle()
        found = memory.ask(body.question, version=body.version, unknown=body.unknown, show_pairs=body.show_pairs)
        told = {"source": found.source, "pairs": found.pairs, "shown": found.shown}
        return {"text": found.text, **told, "version": found.version, "milliseconds": found.milliseconds}

    return Json(await on_memory(request, call, "talk"))


@router.get(
    "/v1/versions", summary="All versions of the weights, oldest first", responses=shown({"results": [VERSION]})
)
async def versions(request: Request) -> Response:
    return Json({"results": await on_memory(request, lambda memory: memory.versions(), "look")})


@router.get("/v1/diff", summary="The pairs that hold in one version and not in the other", responses=shown(CHANGES))
async def diff(request: Request, first: str, second: str) -> Response:
    return Json(await on_memory(request, lambda memory: memory.diff(first, second), "look"))


@router.post(
    "/v1/rollback",
    summary="Go back to an earlier version; what was forgotten since stays forgotten",
    responses=shown(RECEIPT | {"kind": "rollback", "pairs": []}),
)
async def rollback(body: RollbackRequest, request: Request) -> Response:
    def call(memory: CheckedMemory) -> Receipt:
        return memory.rollback(body.version)

    return Json((await on_memory(request, call, "work")).record())


@router.post("/v1/tag", summary="Name a version, whose weights then stay", responses=shown({"name": "before"}))
async def tag(body: TagRequest, request: Request) -> Response:
    def call(memory: CheckedMemory) -> None:
        memory.tag(body.version, body.name)

    await on_memory(request, call, "work")
    return Json({"name": body.name})


@router.get(
    "/v1/verify",
    summary="Whether the weights are those that the ledger says; deep: trained anew",
    responses=shown(VERIFIED),
)
async def verify(request: Request, deep: bool = False) -> Response:
    return Json(await on_memory(request, lambda memory: memory.verify(deep=deep), "work"))


@router.get("/v1/why", summary="Which pairs moved an answer", responses=shown({"results": [MOVED]}))
async def why(request: Request, question: str, answer: str | None = None) -> Response:
    rows = await on_memory(request, lambda memory: memory.why(question, answer=answer), "work")
    return Json({"results": rows})


@router.get("/v1/stats", summary="Pairs by status, versions, files and their bytes", responses=shown(STATS))
async def stats(request: Request) -> Response:
    return Json(await on_memory(request, lambda memory: memory.stats(), "look"))


@router.get("/v1/export", summary="The ledger as JSON lines, which tmem import takes in", response_class=Lines)
async def export(request: Request) -> Response:
    def call(memory: CheckedMemory) -> bytes:
        with TemporaryDirectory() as folder:
            memory.export(Path(folder) / "ledger.jsonl")
            return (Path(folder) / "ledger.jsonl").read_bytes()

    return Lines(await on_memory(request, call, "look"))


@router.post(
    "/v1/reset",
    summary="Remove this user's memory whole, and that there was one",
    responses=shown({"erased": True}),
)
async def reset(request: Request) -> Response:
    return Json({"erased": await on_memory(request, lambda memory: memory.erase(), "work")})
