"""What every reply looks like: JSON that always can be sent, and errors in OpenAI's shape."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from tmem.errors import DeltaError, NotFound, StoreError, TmemError
from tmem.files import without_surrogates
from tmem.store.ledger.database import Lost
from tmem.store.ledger.locks import Busy
from tmem.store.weights.snapshots import Unreachable

# What the libraries say of a request that reaches no route, and what to do.
UNROUTED = {
    400: "the body is not JSON in UTF-8, or nested too deeply",
    404: "there is nothing at this path: /openapi.json lists what there is",
    405: "this path takes other methods: the header Allow names them",
}
_KIND = re.compile(r"str|int|list\[.*\]")  # beside the part's name, where one may be several things
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 500: "server_error"}


class Json(JSONResponse):
    """JSON in UTF-8, whatever halves of characters a caller has sent."""

    def render(self, content: Any) -> bytes:
        return as_json(content).encode()


class Refusal(Exception):
    """A request that gets an error: its status, one line, which part of the request it is about; when to come again."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None, retry: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.retry = status, param, code, retry  # retry: in seconds


def as_json(content: Any) -> str:
    """One line of JSON."""
    return without_surrogates(json.dumps(content, ensure_ascii=False, separators=(",", ":")))


def shape(refusal: Refusal) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    kind = TYPES.get(refusal.status, "invalid_request_error")
    return {"error": {"message": str(refusal), "type": kind, "param": refusal.param, "code": refusal.code}}


def reply(refusal: Refusal) -> Json:
    """An error as a response."""
    headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    if refusal.retry is not None:
        headers["Retry-After"] = str(refusal.retry)
    return Json(shape(refusal), refusal.status, headers)


def refusal_of(error: Exception, home: str) -> Refusal:
    """What a caller is told of an error: the one line of ours, of any other nothing.

    ``home``: the folder, which is nobody's business who asks from elsewhere.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return Refusal(error.status_code, UNROUTED.get(error.status_code) or HTTPStatus(error.status_code).phrase)
    if isinstance(error, Lost | Busy):  # where the ledger is is nobody's business either
        return Refusal(503, "the memory cannot be reached just now; nothing was changed: try again", retry=5)
    if isinstance(error, Unreachable):  # nor where the weights are
        return Refusal(503, "the weights cannot be reached just now; what was told is kept: try again", retry=5)
    if isinstance(error, TmemError):
        text = str(error).replace(f"{home}: ", "").replace(home, "the home")
        if isinstance(error, NotFound):
            return Refusal(404, text, code="not_found")
        return Refusal(409 if isinstance(error, DeltaError | StoreError) else 400, text)
    return Refusal(500, "something went wrong in the server; its log says where")


def _invalid(error: RequestValidationError) -> Refusal:
    """The first thing that is wrong with a request's parts; the innermost in one that may be a text or a list."""
    errors = error.errors()
    first = errors[0]
    if first["type"] == "json_invalid":
        return Refusal(400, f"the body is not JSON: {first.get('ctx', {}).get('error', 'it does not end')}")
    *whole, kind = first["loc"]
    if _KIND.fullmatch(str(kind)):
        own = [one for one in errors if list(one["loc"][: len(whole)]) == whole]
        first = max(own, key=lambda one: len(one["loc"]))
    place = [str(part) for part in first["loc"][1:] if not _KIND.fullmatch(str(part))]
    param = ".".join(place) or None
    if not place and first["type"] in ("missing", "model_attributes_type", "dict_type"):  # none, a list, or no JSON
        return Refusal(400, "this needs a body that is a JSON object (Content-Type: application/json)")
    if first["type"] == "extra_forbidden":
        return Refusal(400, f"there is no {param} here", param)
    text = str(first["msg"]).removeprefix("Value error, ")
    return Refusal(400, f"{param}: {text}" if param else text, param)
