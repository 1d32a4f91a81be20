"""Whose memory a request is about, and what the routes share to answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import jwt
from fastapi import Request

from tmem.errors import UsageError
from tmem.server import traces
from tmem.server.keys import Key, check_user
from tmem.server.metrics import Metrics
from tmem.server.replies import Refusal
from tmem.server.workers import WorkerPool
from tmem.store.checked import CheckedMemory
from tmem.store.memory import Memory

R = TypeVar("R")
HEADER = "X-Tmem-User"
WITHIN = {"agent_id": "X-Tmem-Agent", "run_id": "X-Tmem-Run"}  # memories of their own within a user's
WEBUI, WEBUI_SIGNED = "X-OpenWebUI-User-Id", "X-OpenWebUI-User-Jwt"
LEEWAY = 30  # seconds that two computers' clocks may be apart


@dataclass(frozen=True)
class Served:
    """What is served. ``talk``: for answers; ``work``: for what changes a memory or trains; ``look``: for what only
    reads the ledger.
    """

    memory: Memory
    model: str
    home: str
    talk: WorkerPool
    work: WorkerPool
    look: WorkerPool
    metrics: Metrics
    since: int  # seconds
    webui_secret: str | None = None  # with which Open WebUI signs whom it speaks for


def served(request: Request) -> Served:
    """What this application serves."""
    found: Served = request.app.state.served
    return found


def whose(request: Request, named: Mapping[str, Any] | None = None) -> str:
    """The user that a request is about.

    A key bound to a user says so itself, and every other name is refused. An application, or anybody on this computer
    where no key is needed, names the user: where Open WebUI signs what it says by that alone, else by the header, Open
    WebUI's, ``?user_id=``, or the first of ``named``, parts of the body, that is there. Raises :class:`Refusal`.
    """
    key: Key | None = request.state.key
    secret = served(request).webui_secret
    if secret is not None and (key is None or key.user is None):
        return _signed(request, secret)
    names = [(name, _header(request, name)) for name in (HEADER, WEBUI)]
    names += [("user_id", request.query_params.get("user_id")), *(named or {}).items()]
    given = [(name, value) for name, value in names if value is not None]
    if key is not None and key.user is not None:
        if any(value != key.user for _, value in given):
            raise Refusal(403, "this key may not name another user", code="not_yours")
        return key.user
    for name, value in given:
        try:
            return check_user(value)
        except UsageError as error:
            raise Refusal(400, f"{name}: {error}", name) from None
    raise Refusal(400, f"whose memory? name the user in the header {HEADER}", "user")


def memory_of(request: Request, user: str, named: Mapping[str, str | None] | None = None) -> CheckedMemory:
    """The memory of a user, or that of an agent or a run of theirs where the request names one: another memory.

    By header, in the query, or in ``named``, the parts of a body. Raises :class:`Refusal`.
    """
    found = dict[str, str]()
    for name, header in WITHIN.items():
        said = (_header(request, header), request.query_params.get(name), (named or {}).get(name))
        given = {value for value in said if value is not None}
        if len(given) > 1:
            raise Refusal(400, f"{name} is said twice, and not the same: say it once", name)
        for value in given:
            try:
                found[name] = check_user(value, f"{name}: a name")
            except UsageError as error:
                raise Refusal(400, str(error), name) from None
    return served(request).memory.scope(user_id=user, **found)


async def on_memory(
    request: Request,
    call: Callable[[CheckedMemory], R],
    pool: Literal["talk", "work", "look"],
    named: Mapping[str, str | None] | None = None,
) -> R:
    """What a call on the memory of a request gives, made when it is its turn in a pool of :class:`Served`.

    ``named``: what the body says of ``user_id``, ``agent_id`` and ``run_id``, if anything; raises :class:`Refusal`
    where the rest says otherwise.
    """
    body_user = (named or {}).get("user_id")
    user, own = whose(request, {"user_id": body_user}), served(request)
    if body_user not in (None, user):
        raise Refusal(400, "the body names another user than the rest of the request: name one", "user_id")
    memory = memory_of(request, user, named)
    chosen: WorkerPool = getattr(own, pool)
    route = getattr(request.scope.get("route"), "name", "")
    with traces.of_call(route), own.metrics.writes.labels(route).time() if pool == "work" else nullcontext():
        return await chosen.run(lambda: call(memory), user)


def _header(request: Request, name: str) -> str | None:
    """A header that is there once at most, in UTF-8."""
    found = request.headers.getlist(name)
    if len(found) > 1:
        raise Refusal(400, f"{name} is there twice: name one user", name)
    try:
        return found[0].encode("latin-1").decode() if found else None
    except UnicodeDecodeError:
        raise Refusal(400, f"{name} is not valid UTF-8", name) from None


def _signed(request: Request, secret: str) -> str:
    """Whom Open WebUI has signed that it speaks for."""
    token = _header(request, WEBUI_SIGNED)
    try:
        told = jwt.decode(
            token or "",
            secret,
            ["HS256"],
            issuer="open-webui",
            leeway=LEEWAY,
            options={"require": ["sub", "exp"]},
        )
        return check_user(told["sub"])
    except (jwt.InvalidTokenError, UsageError):
        what = f"{WEBUI_SIGNED} is needed, signed with this server's secret and not expired"
        raise Refusal(401, what, WEBUI_SIGNED, "invalid_user_token") from None
