"""Answers as server-sent events, which openai's clients take apart: data alone, and comments while nothing is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.responses import StreamingResponse

from tmem.server.replies import as_json, refusal_of, shape

PING = 10.0  # seconds without a word, after which a comment keeps the connection open


def event(content: dict[str, Any], name: str | None = None) -> str:
    """One event. Its lines are one write: an event that has a name and no data yet is an error to some clients."""
    return ("" if name is None else f"event: {name}\n") + f"data: {as_json(content)}\n\n"


class Events(StreamingResponse):
    """A response of events as they are made; an error that comes so late is the last one.

    ``stop`` is called at the end, also if who asked has gone before the first of them.
    """

    def __init__(self, made: AsyncIterator[str], home: str, stop: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second: proxies would collect them
        super().__init__(_kept_open(made, home), media_type="text/event-stream", headers=headers)
        self.stop = stop

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.stop()


async def _kept_open(made: AsyncIterator[str], home: str) -> AsyncIterator[str]:
    following: asyncio.Future[str] | None = None
    try:
        while True:
            following = asyncio.ensure_future(anext(made))
            while not (await asyncio.wait({following}, timeout=PING))[0]:
                yield ": still at it\n\n"
            yield following.result()
    except StopAsyncIteration:
        return
    except Exception as error:
        yield event(shape(refusal_of(error, home)))
    finally:
        if following is not None:
            following.cancel()
            await asyncio.wait({following})
        await made.aclose()  # type: ignore[attr-defined]
