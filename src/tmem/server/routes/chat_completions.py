"""OpenAI's interface: a chat is answered from the memory of its user, and teaches it only if the request says so."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from tmem.model.request import GenerationConfig
from tmem.server.dependencies import Served, memory_of, served, whose
from tmem.server.replies import Json, Refusal
from tmem.server.routes.formats import held_to
from tmem.server.routes.schemas import HARMLESS, ChatMessage, ChatRequest, MemoryOptions
from tmem.server.sse import Events, event
from tmem.server.streaming import Said, Speech, while_there, whole

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MOST_STOPS = 4
# What chat programs ask on their own account, about a conversation and not in it.
_TASK = re.compile(
    r"\s*### Task:|[^\n]*\btitle for (?:the|this) conversation\b|Analyze this conversation and provide:", re.IGNORECASE
)
router = APIRouter(tags=["OpenAI"])


@router.get("/v1/models", summary="The model that memories live in")
async def models(request: Request) -> Response:
    return Json({"object": "list", "data": [_model(served(request))]})


@router.get("/v1/models/{name:path}", summary="One model")
async def model(request: Request, name: str) -> Response:
    check_model(served(request), name)
    return Json(_model(served(request)))


@router.post(
    "/v1/chat/completions",
    summary="Answer a conversation from the user's memory",
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def chat(body: ChatRequest, request: Request) -> Response:
    own = served(request)
    check_model(own, body.model)
    check_parts(body, HARMLESS)
    user = whose(request, {"user": body.user, "metadata.user_id": (body.metadata or {}).get("user_id")})
    turns, learn = turns_of(body.messages), learns(request, body.memory, body.metadata, body.messages)
    memory = memory_of(request, user, None if body.memory is None else body.memory.ids)
    documents = [one.whole for one in body.documents or ()]
    speech = Speech(own, memory, user, turns, _sampling(body), _likeliest(body), documents)
    number = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": own.model}
    if not body.stream:
        return Json(await while_there(request, _whole(speech, learn, number)))
    await speech.begun()
    usage = body.stream_options is not None and body.stream_options.include_usage
    return Events(_chunks(speech, learn, number, usage), own.home, speech.stop)


async def _whole(speech: Speech, learn: bool, number: dict[str, Any]) -> dict[str, Any]:
    text = await whole(speech)
    if learn:
        await speech.learn()
    said = speech.said
    assert said is not None
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": _logprobs(speech), "finish_reason": said.finish}
    found = number | {"object": "chat.completion", "choices": [choice], "usage": _usage(said)}
    return found | {"tmem": said.tmem | ({} if speech.learned is None else {"learned": speech.learned})}


async def _chunks(speech: Speech, learn: bool, number: dict[str, Any], usage: bool) -> AsyncIterator[str]:
    """The answer as events: who speaks, what is said, that it ends, what was learned, what it took if asked for."""
    number = number | {"object": "chat.completion.chunk"}

    def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": _logprobs(speech), "finish_reason": finish}
        return event(number | {"choices": [choice]} | ({"usage": None} if usage else {}) | more)

    yield chunk({"role": "assistant", "content": ""})
    async for piece in speech.pieces():
        yield chunk({"content": piece})
    said = speech.said
    assert said is not None
    yield chunk({}, said.finish, tmem=said.tmem)
    if learn:
        await speech.learn()
        yield chunk({}, tmem={"learned": speech.learned})
    if usage:
        yield event(number | {"choices": [], "usage": _usage(said)})
    yield "data: [DONE]\n\n"


def _logprobs(speech: Speech) -> dict[str, Any] | None:
    """Of the tokens that are new, as a choice has them."""
    found = speech.likelihoods()
    return None if found is None else {"content": found, "refusal": None}


def _usage(said: Said) -> dict[str, int]:
    asked, answered = said.usage
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def _model(own: Served) -> dict[str, Any]:
    return {"id": own.model, "object": "model", "created": own.since, "owned_by": "tmem"}


def check_model(own: Served, name: str) -> None:
    if name != own.model:
        raise Refusal(404, f"there is no model {name!r:.80} here, only {own.model!r}", "model", "model_not_found")


def check_parts(body: BaseModel, harmless: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse what would change the answer and cannot be done."""
    for name, value in (body.model_extra or {}).items():
        if name in harmless and value is not None and value not in harmless[name]:
            raise Refusal(400, f"{name} is not supported here: leave it out", name, "unsupported_parameter")


def turns_of(messages: Sequence[ChatMessage], named: str = "messages") -> list[dict[str, str]]:
    """The conversation, which the request calls ``named``, as texts. Raises :class:`Refusal` for what is none."""
    turns = []
    for place, message in enumerate(messages):
        where = f"{named}.{place}"
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
        raise Refusal(400, "a conversation ends with a message of the user", f"{named}.{len(turns) - 1}.role")
    return turns


def _sampling(body: ChatRequest) -> GenerationConfig:
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(stops) > MOST_STOPS or not all(stops):
        raise Refusal(400, f"stop is one text or up to {MOST_STOPS}, none of them empty", "stop")
    limits = [limit for limit in (body.max_completion_tokens, body.max_tokens) if limit is not None]
    top_p, shape, schema = 1.0 if body.top_p is None else body.top_p, body.response_format, None
    if shape is not None:
        asked = None if shape.json_schema is None else shape.json_schema.schema_
        schema = held_to(shape.type, asked, "response_format")
    return GenerationConfig(
        body.temperature or 0.0,
        top_p,
        max_new_tokens=min(limits, default=None),
        seed=body.seed or 0,
        stop_texts=tuple(stops),
        schema=schema,
    )


def _likeliest(body: ChatRequest) -> int | None:
    if body.top_logprobs and not body.logprobs:
        raise Refusal(400, "top_logprobs needs logprobs: true", "top_logprobs")
    return body.top_logprobs or 0 if body.logprobs else None


def learns(
    request: Request, memory: MemoryOptions | None, metadata: dict[str, Any] | None, messages: Sequence[ChatMessage]
) -> bool:
    """Whether the last message teaches: only if the request says so, and never what a chat program asks by itself.

    It says so in ``metadata.task`` or the header X-Tmem-Task, or its prompt begins as those of such programs do.
    """
    header = request.headers.get("x-tmem-learn", "false").strip().lower()
    if header not in ("true", "1", "false", "0"):
        raise Refusal(400, "X-Tmem-Learn is true or false", "X-Tmem-Learn")
    wanted = header in ("true", "1") if memory is None or memory.learn is None else memory.learn
    marked = request.headers.get("x-tmem-task", "").strip() not in ("", "{{TASK}}")
    said = turns_of(messages[-1:])[0]["content"]
    return wanted and not (marked or (metadata or {}).get("task") or _TASK.match(said))
