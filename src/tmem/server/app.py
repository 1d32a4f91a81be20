"""The application: routes behind a guard, errors in one shape, one OpenAPI document."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tmem.errors import TmemError
from tmem.heap import keep_giving_back
from tmem.server import traces
from tmem.server.dependencies import HEADER, WITHIN, Served
from tmem.server.keys import Keys
from tmem.server.mcp_tools import OverHttp
from tmem.server.metrics import Metrics, MetricsMiddleware
from tmem.server.middleware import OPEN, Guard
from tmem.server.replies import Json, Refusal, refusal_of, reply
from tmem.server.routes import chat_completions, looking, mem0, memories, responses
from tmem.server.workers import WorkerPool
from tmem.store.memory import Memory

BODY_BYTES = 1 << 20
WAITING = 64  # calls, of each kind
EACH = 8  # of them of one user
TALKING, WORKING, LOOKING = 32, 4, 4  # threads: answers made side by side, writes of which one trains, looking
WRITES_STAND_BACK = 10  # as of the command ``nice``: so little takes a write from answers on the same processor
_TEXT, _TEXT_OR_NULL = {"type": "string"}, {"type": ["string", "null"]}
_PARTS = {"message": _TEXT, "type": _TEXT, "param": _TEXT_OR_NULL, "code": _TEXT_OR_NULL}
ERROR = {
    "type": "object",
    "properties": {"error": {"type": "object", "properties": _PARTS, "required": list(_PARTS)}},
    "required": ["error"],
}
WHOSE = [
    {"name": name, "in": "header", "required": False, "schema": _TEXT, "description": said}
    for name, said in (
        (HEADER, "Whose memory, where the key does not say it"),
        (WITHIN["agent_id"], "An agent of theirs, with a memory of its own"),
        (WITHIN["run_id"], "A run of theirs, with a memory of its own"),
    )
]


class Application(FastAPI):
    """Its OpenAPI document has the errors that there are, in their shape, and how to give a key."""

    def openapi(self) -> dict[str, Any]:
        made = self.openapi_schema is None
        found: dict[str, Any] = super().openapi()
        if made:
            _describe(found)
        return found


def _describe(document: dict[str, Any]) -> None:
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = ERROR
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for path, item in document["paths"].items():
        for route in item.values():
            route["responses"].pop("422", None)
            if path not in OPEN:
                route["responses"]["4XX"] = {"description": "What is wrong, in one line", "content": content}
                route["security"] = [{"key": []}, {}]
                if path != "/metrics" and not path.startswith("/v1/models"):
                    route.setdefault("parameters", []).extend(WHOSE)


def make_app(
    memory: Memory,
    model: str,
    keys: Keys,
    *,
    local: bool = True,
    body_bytes: int = BODY_BYTES,
    waiting: int = WAITING,
    each: int = EACH,
    per_minute: int | None = None,
    log_requests: bool = False,
    webui_secret: str | None = None,
) -> FastAPI:
    """An ASGI application that serves ``memory`` under the name ``model``; it closes what it is given when it stops.

    ``local``: it listens on this computer alone, so that it can do without keys. ``waiting``: so many calls queue
    before others are told to come again, and ``each`` of one user; ``per_minute``: as in :class:`Guard`.
    """
    metrics = Metrics()

    def pool(name: str, threads: int, nice: int = 0) -> WorkerPool:
        made = WorkerPool(name, threads, waiting, each, nice, metrics.waited.labels(name).observe)
        metrics.calls.labels(name).set_function(lambda: made.held)
        return made

    talk, work, look = pool("talk", TALKING), pool("work", WORKING, WRITES_STAND_BACK), pool("look", LOOKING)

    tools = OverHttp(_version(), str(keys.home))

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        # To a server that was killed: by one thread, however many they are, so that others can write.
        work.later(*(told.absorb for told in memory.pending()))
        giving = asyncio.create_task(keep_giving_back())
        async with tools.running():
            yield
        giving.cancel()
        for one in (talk, work, look):
            one.close()
        memory.close()
        traces.flush()  # a signal that ends the process leaves no time for it later

    app = Application(
        title="TMEM",
        version=_version(),
        description="Memories that are weights: OpenAI's interface, and routes to look into a memory and change it.",
        lifespan=life,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    home = str(keys.home)
    app.state.served = Served(memory, model, home, talk, work, look, metrics, int(time.time()), webui_secret)

    async def refuse(_: Request, error: Exception) -> Response:
        answer = reply(refusal_of(error, home))
        answer.headers.update(getattr(error, "headers", None) or {})  # which methods a route has
        return answer

    for kind in (Refusal, TmemError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, refuse)
    app.add_middleware(Guard, keys=keys, local=local, limit=body_bytes, per_minute=per_minute)
    app.add_middleware(MetricsMiddleware, metrics=metrics, requests=log_requests)
    for name, (what, value) in memory.metrics().items():
        metrics.follow(f"tmem_{name}", what, value)
    for router in (chat_completions.router, responses.router, memories.router, looking.router, mem0.router):
        app.include_router(router)
    app.router.routes.append(Route("/mcp", tools, methods=["POST"], name="mcp"))  # no stream that only waits

    @app.get("/healthz", summary="Whether the process is there", tags=["operating"])
    async def healthz() -> Response:
        return Json({"status": "ok"})

    @app.get("/readyz", summary="Whether it can answer", tags=["operating"])
    async def readyz() -> Response:
        try:
            await look.run(lambda: (keys.all(), memory.scope(user_id="-").known))
        except (Refusal, TmemError):
            return reply(Refusal(503, "it cannot answer now", retry=1))
        return Json({"status": "ready"})

    @app.get(
        "/metrics",
        summary="Metrics for Prometheus, for an application's key",
        tags=["operating"],
        response_class=PlainTextResponse,
    )
    async def show_metrics(request: Request) -> Response:
        if request.state.key is not None and request.state.key.user is not None:
            raise Refusal(403, "metrics are of all users: they need a key made with --any-user", code="not_yours")
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def _version() -> str:
    try:
        return version("tmem")
    except PackageNotFoundError:
        return "0"
