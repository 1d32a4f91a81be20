"""OpenAI's interface: a chat is answered from the memory of its user, and teaches it only if the request says so."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from tmem.errors import ModelError
from tmem.model.request import Sampling
from tmem.server.replies import Json, Refusal, as_json, refusal_of, shape
from tmem.server.shapes import HARMLESS, ChatMessage, ChatRequest
from tmem.server.who import Served, served, whose
from tmem.store.memory import CheckedMemory

SOON = 2.0  # seconds; an error that comes before has its own status, though the answer is a stream
PING = 10.0  # seconds without a word, after which a comment keeps the connection open
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MOST_STOPS = 4
# What chat programs ask on their own account, about a conversation and not in it.
_TASK = re.compile(r"\s*### Task:|[^\n]*\btitle for (?:the|this) conversation\b", re.IGNORECASE)
router = APIRouter(tags=["OpenAI"])


@dataclass(frozen=True)
class Said:
    """An answer as clients get it."""

    text: str
    finish: str
    usage: dict[str, int]
    tmem: dict[str, Any]


@router.get("/v1/models", summary="The model that memories live in")
async def models(request: Request) -> Response:
    return Json({"object": "list", "data": [_model(served(request))]})


@router.get("/v1/models/{name:path}", summary="One model")
async def model(request: Request, name: str) -> Response:
    _check_model(served(request), name)
    return Json(_model(served(request)))


@router.post(
    "/v1/chat/completions",
    summary="Answer a conversation from the user's memory",
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def chat(body: ChatRequest, request: Request) -> Response:
    own = served(request)
    _check_model(own, body.model)
    _check_parts(body)
    named = {"user": body.user, "metadata.user_id": (body.metadata or {}).get("user_id")}
    memory = own.memory.scope(user_id=whose(request, named))
    turns, sampling, learn = _turns(body.messages), _sampling(body), _learns(body, request)
    future = own.work.start(lambda: answer(memory, turns, sampling, learn))
    number = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": own.model}
    if not body.stream:
        return Json(_whole(await asyncio.shield(future), number))
    await asyncio.wait({future}, timeout=SOON)
    if future.done():
        future.result()
    usage = body.stream_options is not None and body.stream_options.include_usage
    events = _events(future, number, usage, own.home)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


def answer(memory: CheckedMemory, turns: Sequence[dict[str, str]], sampling: Sampling, learn: bool) -> Said:
    """What the memory answers, cut where the request says, with what it took and where it is from."""
    reply = memory.chat(turns, learn=learn, sampling=sampling)
    chat, limit = memory.model.chat, sampling.max_new_tokens
    text = reply.text
    for stop in sampling.stop_texts:
        text = text.partition(stop)[0]
    ids, finish = chat.encode(chat.literal(text)), "stop"
    if limit is not None and len(ids) > limit:
        ids, finish = ids[:limit], "length"
        text = chat.decode(ids)
    elif text == reply.text and reply.source == "base":
        finish = "length" if len(ids) >= (limit or memory.model.settings.max_new_tokens_memory) else "stop"
    try:
        asked = len(memory.model.encode_chat(turns))
    except ModelError:  # a template that takes only some orders of turns
        asked = sum(memory.model.count(turn["content"]) for turn in turns)
    usage = {"prompt_tokens": asked, "completion_tokens": len(ids), "total_tokens": asked + len(ids)}
    tmem: dict[str, Any] = {"source": reply.source, "pairs": reply.pairs, "version": reply.version}
    if reply.learned is not None:
        tmem["learned"] = [{key: row[key] for key in ("id", "question", "answer")} for row in reply.learned.pairs]
    return Said(text, finish, usage, tmem)


def _whole(said: Said, number: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": said.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.finish}
    return number | {"object": "chat.completion", "choices": [choice], "usage": said.usage, "tmem": said.tmem}


async def _events(future: asyncio.Future[Said], number: dict[str, Any], usage: bool, home: str) -> AsyncIterator[str]:
    """The answer as events: who speaks, what is said, that it ends, what it took if that was asked for."""
    number = number | {"object": "chat.completion.chunk"}

    def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event(number | {"choices": [choice]} | ({"usage": None} if usage else {}) | more)

    yield chunk({"role": "assistant", "content": ""})
    while not (await asyncio.wait({future}, timeout=PING))[0]:
        yield ": still at it\n\n"
    try:
        said = future.result()
    except Exception as error:
        yield _event(shape(refusal_of(error, home)))
        return
    if said.text:
        yield chunk({"content": said.text})
    yield chunk({}, said.finish, tmem=said.tmem)
    if usage:
        yield _event(number | {"choices": [], "usage": said.usage})
    yield "data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> str:
    return f"data: {as_json(content)}\n\n"


def _model(own: Served) -> dict[str, Any]:
    return {"id": own.model, "object": "model", "created": own.since, "owned_by": "tmem"}


def _check_model(own: Served, name: str) -> None:
    if name != own.model:
        raise Refusal(404, f"there is no model {name!r:.80} here, only {own.model!r}", "model", "model_not_found")


def _check_parts(body: ChatRequest) -> None:
    """Refuse what would change the answer and cannot be done."""
    for name, value in (body.model_extra or {}).items():
        if name in HARMLESS and value is not None and value not in HARMLESS[name]:
            raise Refusal(400, f"{name} is not supported here: leave it out", name, "unsupported_parameter")


def _turns(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """The conversation as texts. Raises :class:`Refusal` for what is none."""
    turns = []
    for place, message in enumerate(messages):
        where = f"messages.{place}"
        role = ROLES.get(message.role)
        if role is None or message.tool_calls:
            what = f"the role {message.role!r:.40}" if role is None else "a call of a tool"
            raise Refusal(400, f"{where}: {what} is not supported here", where, "unsupported_value")
        parts = [] if message.content is None else message.content
        if message.content is None and role != "assistant":
            raise Refusal(400, f"{where}.content is missing", f"{where}.content")
        if not isinstance(parts, str):
            for part in parts:
                if part.type != "text" or part.text is None:
                    what = f"a part of type {part.type!r:.40} is not supported here, only text"
                    raise Refusal(400, f"{where}.content: {what}", f"{where}.content", "unsupported_value")
            parts = "\n".join(part.text or "" for part in parts)
        turns.append({"role": role, "content": parts} | ({"name": message.name} if message.name else {}))
    if turns[-1]["role"] != "user":
        raise Refusal(400, "a conversation ends with a message of the user", f"messages.{len(turns) - 1}.role")
    return turns


def _sampling(body: ChatRequest) -> Sampling:
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(stops) > MOST_STOPS or not all(stops):
        raise Refusal(400, f"stop is one text or up to {MOST_STOPS}, none of them empty", "stop")
    limits = [limit for limit in (body.max_completion_tokens, body.max_tokens) if limit is not None]
    top_p = 1.0 if body.top_p is None else body.top_p
    return Sampling(min(limits, default=None), body.temperature or 0.0, top_p, body.seed or 0, tuple(stops))


def _learns(body: ChatRequest, request: Request) -> bool:
    """Whether the last message teaches: only if the request says so, and never what a chat program asks by itself."""
    header = request.headers.get("x-tmem-learn", "false").strip().lower()
    if header not in ("true", "1", "false", "0"):
        raise Refusal(400, "X-Tmem-Learn is true or false", "X-Tmem-Learn")
    wanted = header in ("true", "1") if body.memory is None else body.memory.learn
    return wanted and not _is_task(body, request)


def _is_task(body: ChatRequest, request: Request) -> bool:
    """Whether a chat program asks for a title, tags or questions that could follow.

    It says so in ``metadata.task`` or the header X-Tmem-Task, or its prompt begins as those of such programs do.
    """
    marked = request.headers.get("x-tmem-task", "").strip() not in ("", "{{TASK}}")
    said = _turns(body.messages[-1:])[0]["content"]
    return marked or bool((body.metadata or {}).get("task")) or _TASK.match(said) is not None
