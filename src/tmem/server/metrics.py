"""What an operator sees of requests: metrics for Prometheus and one line of log each, neither with any content.

Who asked is named by the key, never by the user; a route by its template, never by the ids in it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers

from tmem.server import traces
from tmem.server.replies import Refusal, reply

log = logging.getLogger("tmem.server")
QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
FRAMES = 6  # of an error's place


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("tmem_requests", "Requests that were answered", ["route", "status"], **own)
        self.seconds = Histogram(
            "tmem_request_seconds", "From a request to the end of its reply", ["route"], buckets=QUICK, **own
        )
        self.waited = Histogram(
            "tmem_wait_seconds", "Until a call's turn among the threads", ["pool"], buckets=QUICK, **own
        )
        self.calls = Gauge("tmem_calls", "Calls that run or wait", ["pool"], **own)
        self.first = Histogram("tmem_first_token_seconds", "From a chat to its first token", buckets=QUICK, **own)
        self.between = Histogram("tmem_token_gap_seconds", "Between two tokens of an answer", buckets=QUICK, **own)
        self.tokens = Counter("tmem_tokens", "Tokens read and answered", ["kind"], **own)
        self.writes = Histogram(
            "tmem_write_seconds", "Changes of memories, with their training", ["kind"], buckets=QUICK, **own
        )

    def follow(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A figure that is looked up whenever somebody asks."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All of them in Prometheus' format."""
        return generate_latest(self.registry)


class MetricsMiddleware:
    """The outermost layer: times requests, and answers what nobody foresaw. ``requests``: log every one."""

    def __init__(self, app: Any, metrics: Metrics, requests: bool) -> None:
        self.app, self.metrics, self.requests = app, metrics, requests

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with traces.of_request(scope["method"], Headers(scope=scope)) as span:
            await self._timed(scope, receive, send, span)

    async def _timed(self, scope: MutableMapping[str, Any], receive: Any, send: Any, span: Any) -> None:
        began, status, number = time.perf_counter(), 0, uuid4().hex

        async def note(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", number.encode())]
            await send(message)

        try:
            await self.app(scope, receive, note)
        except Exception as error:
            facts: dict[str, Any] = {"id": number, "error": type(error).__name__, "at": places(error.__traceback__)}
            log.error("error", extra=facts)
            if not status:
                await reply(Refusal(500, f"something went wrong in the server; its log says where (request {number})"))(
                    scope, receive, note
                )
        finally:
            seconds = time.perf_counter() - began
            route = str(getattr(scope.get("route"), "path", "none"))
            self.metrics.requests.labels(route, status or 499).inc()
            self.metrics.seconds.labels(route).observe(seconds)
            traces.answered(span, scope["method"], route, status or 499)
            if self.requests:
                key = scope.get("state", {}).get("key")
                line: dict[str, Any] = {"id": number, "method": scope["method"], "route": route}
                line |= {
                    "status": status or 499,
                    "milliseconds": round(1000 * seconds, 1),
                    "key": getattr(key, "name", None),
                }
                log.info("request", extra=line)


def places(found: TracebackType | None) -> list[str]:
    """Where an error came from, innermost last, without what it says: that may be somebody's words."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(found)[-FRAMES:]]


class Lines(logging.Formatter):
    """One line of JSON for each record: its time, level, event, and the facts that came with it."""

    KNOWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= {key: value for key, value in record.__dict__.items() if key not in self.KNOWN}
        if record.exc_info and record.exc_info[0] is not None:
            line |= {"error": record.exc_info[0].__name__, "at": places(record.exc_info[2])}
        return json.dumps(line, ensure_ascii=False, default=str)


def write_lines() -> None:
    """Have what is logged written to standard error as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
