"""Whose memory a request is about, and what the routes share to answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from fastapi import Request

from tmem.errors import UsageError
from tmem.server.keys import Key, check_user
from tmem.server.pool import Pool
from tmem.server.replies import Refusal
from tmem.server.watch import Figures
from tmem.store.memory import CheckedMemory, Memory

R = TypeVar("R")
HEADER = "X-Tmem-User"


@dataclass(frozen=True)
class Served:
    """What is served. ``talk``: for answers; ``work``: for what changes a memory or trains; ``look``: for what only
    reads the ledger.
    """

    memory: Memory
    model: str
    home: str
    talk: Pool
    work: Pool
    look: Pool
    figures: Figures
    since: int  # seconds


def served(request: Request) -> Served:
    """What this application serves."""
    found: Served = request.app.state.served
    return found


def whose(request: Request, named: Mapping[str, Any] | None = None) -> str:
    """The user that a request is about.

    A key bound to a user says so itself, and every other name is refused. An application, or anybody on this computer
    where no key is needed, names the user: by the header, else ``?user_id=``, else by the first of ``named``, parts of
    the body, that is there. Raises :class:`Refusal`.
    """
    key: Key | None = request.state.key
    headers = request.headers.getlist(HEADER)
    if len(headers) > 1:
        raise Refusal(400, f"{HEADER} is there twice: name one user", HEADER)
    names = {HEADER: _utf8(headers[0]) if headers else None, "user_id": request.query_params.get("user_id")}
    names |= {name: value for name, value in (named or {}).items() if value is not None}
    given = {name: value for name, value in names.items() if value is not None}
    if key is not None and key.user is not None:
        if any(value != key.user for value in given.values()):
            raise Refusal(403, "this key may not name another user", code="not_yours")
        return key.user
    for name, value in given.items():
        try:
            return check_user(value)
        except UsageError as error:
            raise Refusal(400, f"{name}: {error}", name) from None
    raise Refusal(400, f"whose memory? name the user in the header {HEADER}", "user")


async def on_memory(
    request: Request,
    call: Callable[[CheckedMemory], R],
    pool: Literal["talk", "work", "look"],
    named: str | None = None,
) -> R:
    """What a call on the memory of the request's user gives, made when it is its turn in a pool of :class:`Served`.

    ``named``: whom the body calls its user, if anybody; raises :class:`Refusal` where the rest says somebody else.
    """
    user, own = whose(request, {"user_id": named}), served(request)
    if named not in (None, user):
        raise Refusal(400, "the body names another user than the rest of the request: name one", "user_id")
    memory = own.memory.scope(user_id=user)
    chosen: Pool = getattr(own, pool)
    if pool != "work":
        return await chosen.run(lambda: call(memory), user)
    with own.figures.writes.labels(getattr(request.scope.get("route"), "name", "")).time():
        return await chosen.run(lambda: call(memory), user)


def _utf8(header: str) -> str:
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise Refusal(400, f"{HEADER} is not valid UTF-8", HEADER) from None
