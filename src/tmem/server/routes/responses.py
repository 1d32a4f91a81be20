"""OpenAI's newer interface, ``/v1/responses``: the same answers in its shape. Nothing of a response is kept."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from starlette.responses import Response

from tmem.model.request import GenerationConfig
from tmem.server.dependencies import memory_of, served, whose
from tmem.server.replies import Json, Refusal
from tmem.server.routes.chat_completions import check_model, check_parts, learns, turns_of
from tmem.server.routes.formats import held_to
from tmem.server.routes.schemas import NEEDLESS, ChatMessage, Part, ResponseRequest
from tmem.server.sse import Events, event
from tmem.server.streaming import Speech, while_there, whole

LOGPROBS = "message.output_text.logprobs"
router = APIRouter(tags=["OpenAI"])


@router.post(
    "/v1/responses",
    summary="Answer a conversation from the user's memory, in the shape of OpenAI's Responses",
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def respond(body: ResponseRequest, request: Request) -> Response:
    own = served(request)
    check_model(own, body.model)
    check_parts(body, NEEDLESS)
    user = whose(request, {"user": body.user, "metadata.user_id": (body.metadata or {}).get("user_id")})
    messages = _messages(body)
    turns, learn = turns_of(messages, "input"), learns(request, body.memory, body.metadata, messages)
    top_p = 1.0 if body.top_p is None else body.top_p
    shape = None if body.text is None else body.text.format
    schema = None if shape is None else held_to(shape.type, shape.schema_, "text.format")
    sampling = GenerationConfig(body.temperature or 0.0, top_p, max_new_tokens=body.max_output_tokens, schema=schema)
    likeliest = (body.top_logprobs or 0) if LOGPROBS in (body.include or ()) or body.top_logprobs else None
    memory = memory_of(request, user, None if body.memory is None else body.memory.ids)
    documents = [one.whole for one in body.documents or ()]
    speech = Speech(own, memory, user, turns, sampling, likeliest, documents)
    made = _Made(body, speech, learn)
    if not body.stream:
        return Json(await while_there(request, made.whole()))
    await speech.begun()
    return Events(made.events(), own.home, speech.stop)


class _Made:
    """A response while it is made."""

    def __init__(self, body: ResponseRequest, speech: Speech, learn: bool) -> None:
        self.body, self.speech, self.learn = body, speech, learn
        self.logprobs = list[dict[str, Any]]()
        self.id, self.item, self.created = f"resp_{uuid4().hex}", f"msg_{uuid4().hex}", int(time.time())

    async def whole(self) -> dict[str, Any]:
        text = await whole(self.speech)
        self._new_logprobs()
        return await self._ended(text)

    async def events(self) -> AsyncIterator[str]:
        """In the order that clients build a response from."""
        number = 0

        def made(kind: str, **more: Any) -> str:
            nonlocal number
            number += 1
            return event({"type": kind, "sequence_number": number - 1, **more}, kind)

        place = {"item_id": self.item, "output_index": 0, "content_index": 0}
        yield made("response.created", response=self._response("in_progress", []))
        yield made("response.in_progress", response=self._response("in_progress", []))
        yield made("response.output_item.added", output_index=0, item=self._message("in_progress", []))
        yield made("response.content_part.added", **place, part=_text("", []))
        said = ""
        async for piece in self.speech.pieces():
            said += piece
            yield made("response.output_text.delta", **place, delta=piece, logprobs=self._new_logprobs())
        text = _text(said, self.logprobs)
        yield made("response.output_text.done", **place, text=said, logprobs=self.logprobs)
        yield made("response.content_part.done", **place, part=text)
        yield made("response.output_item.done", output_index=0, item=self._message(self._status, [text]))
        response = await self._ended(said)
        yield made(f"response.{response['status']}", response=response)

    def _new_logprobs(self) -> list[dict[str, Any]]:
        new = self.speech.likelihoods() or []
        self.logprobs += new
        return new

    @property
    def _status(self) -> str:
        assert self.speech.said is not None
        return "completed" if self.speech.said.finish == "stop" else "incomplete"

    async def _ended(self, text: str) -> dict[str, Any]:
        """The response with all that there is to say of it; what its message tells is kept by then."""
        if self.learn:
            await self.speech.learn()
        said, status = self.speech.said, self._status
        assert said is not None
        asked, answered = said.usage
        usage = {"input_tokens": asked, "output_tokens": answered, "total_tokens": asked + answered}
        usage |= {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}  # type: ignore[dict-item]
        usage |= {"output_tokens_details": {"reasoning_tokens": 0}}  # type: ignore[dict-item]
        learned = {} if self.speech.learned is None else {"learned": self.speech.learned}
        found = self._response(status, [self._message(status, [_text(text, self.logprobs)])])
        why = None if status == "completed" else {"reason": "max_output_tokens"}
        return found | {"incomplete_details": why, "usage": usage, "tmem": said.tmem | learned}

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.item, "type": "message", "status": status, "role": "assistant", "content": content}

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        asked = self.body
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "metadata": asked.metadata or {},
            "model": asked.model,
            "output": output,
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "store": False,
            "temperature": asked.temperature or 0.0,
            "text": {"format": {"type": "text"}} if asked.text is None else asked.text.model_dump(exclude_none=True),
            "tool_choice": "none",
            "tools": [],
            "top_p": 1.0 if asked.top_p is None else asked.top_p,
            "usage": None,
            "user": asked.user,
        }


def _text(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _messages(body: ResponseRequest) -> list[ChatMessage]:
    """The input as messages. Raises :class:`Refusal` for an item that is none."""
    found = [] if body.instructions is None else [ChatMessage(role="system", content=body.instructions)]
    if isinstance(body.input, str):
        return [*found, ChatMessage(role="user", content=body.input)]
    for place, item in enumerate(body.input):
        if item.type != "message" or item.role is None:
            raise Refusal(
                400,
                f"input.{place}: an item of type {item.type!r:.40} is not supported here, only messages",
                f"input.{place}",
                "unsupported_value",
            )
        parts = item.content
        if not isinstance(parts, str):
            texts = ("input_text", "output_text", "text")
            parts = [Part(type="text" if part.type in texts else part.type, text=part.text) for part in parts]
        found.append(ChatMessage(role=item.role, content=parts))
    return found
