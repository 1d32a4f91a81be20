"""What is looked at before any route: is it this computer or a key, and does the body have a size to be read."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from tmem.errors import StoreError
from tmem.server.keys import Key, Keys
from tmem.server.rate_limit import Rates
from tmem.server.replies import Refusal, reply

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
OPEN = ("/healthz", "/readyz", "/openapi.json", "/", "/page.css", "/page.js")  # they say nothing about anybody
HERE = ("127.0.0.1", "::1", "localhost")
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
BODY_SECONDS = 30.0


class Guard:
    """Lets a request through with its key in ``request.state.key``, None where none is needed, and its whole body.

    ``local``: the server listens on this computer alone, so that no key is needed until one is made. ``limit``: bytes
    of a body; ``per_minute``: requests of a key that has no limit of its own, None: as many as come.
    """

    def __init__(self, app: Any, keys: Keys, local: bool, limit: int, per_minute: int | None) -> None:
        self.app, self.keys, self.local, self.limit, self.per_minute = app, keys, local, limit, per_minute
        self.rates = Rates()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            scope.setdefault("state", {})["key"] = self._key(headers)
            body = await self._body(headers, receive)
        except Refusal as refusal:
            await reply(refusal)(scope, receive, send)
            return
        if body is not None:
            await self.app(scope, _again(body, receive), send)

    def _key(self, headers: Headers) -> Key | None:
        try:
            self.local = (
                self.local and not self.keys.needed
            )  # from the first key on for good, whatever becomes of the file
            if self.local:
                _check_here(headers)
                return None
            kind, _, secret = headers.get("authorization", "").partition(" ")
            key = self.keys.find(secret.strip()) if kind.lower() in ("bearer", "token") else None
        except StoreError:
            raise Refusal(503, "the keys of this server cannot be read") from None
        if key is None:
            raise Refusal(401, "this needs a valid key: Authorization: Bearer tmem-...", code="invalid_api_key")
        most = self.per_minute if key.per_minute is None else key.per_minute
        wait = 0.0 if most is None else self.rates.take(key.sha256, most)
        if wait:
            what = f"this key may make {most} requests a minute: try again in {wait:.1f} s"
            raise Refusal(429, what, code="rate_limited", retry=math.ceil(wait))
        return key

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body; None if the caller has gone."""
        length = headers.get("content-length", "")
        too_long = Refusal(413, f"a body may have {self.limit} bytes at most: say it in smaller parts", code="too_long")
        if length.isdecimal() and int(length) > self.limit:
            raise too_long
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self.limit:
                        raise too_long
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {BODY_SECONDS:.0f} s") from None


def _check_here(headers: Headers) -> None:
    """Without keys neither a page of some site in a browser here nor a proxy may ask for others. Raises a refusal."""
    if any(name in headers for name in FORWARDED):
        raise Refusal(403, "this was forwarded, and there are no keys yet: make one first (tmem keys make)")
    asked = [f"//{headers.get('host', '')}", *headers.getlist("origin")]
    for address in asked:
        try:
            host = urlsplit(address).hostname
        except ValueError:
            host = None
        if host not in HERE:
            raise Refusal(403, "without keys only this computer is answered, by the name of localhost or 127.0.0.1")


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be received once more; then whatever else comes."""
    left = [body]

    async def give() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return give
