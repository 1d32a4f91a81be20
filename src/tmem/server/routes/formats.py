"""JSON that an answer is held to, where a request asks for it."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tmem.errors import UsageError
from tmem.model.grammar import check_schema
from tmem.server.replies import Refusal

Kind = Literal["text", "json_object", "json_schema"]


class Schema(BaseModel):
    """A JSON schema. Its ``name`` and ``strict`` are passed over: an answer is always held to it."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_: dict[str, Any] | None = Field(None, alias="schema")


class ChatFormat(BaseModel):
    """What an answer is to look like, as a chat says it."""

    type: Kind
    json_schema: Schema | None = None


class TextFormat(Schema):
    """The same as a request for a response says it."""

    type: Kind


class TextOptions(BaseModel):
    format: TextFormat | None = None


def held_to(kind: Kind, schema: dict[str, Any] | None, named: str) -> str | None:
    """The schema that an answer is held to, None for plain text; the request calls it ``named``.

    Raises :class:`Refusal` for one that cannot be kept to.
    """
    if kind == "text":
        return None
    if kind == "json_object":
        schema = {"type": "object"}
    if schema is None:
        raise Refusal(400, f"{named}: json_schema needs a schema", named)
    text = json.dumps(schema)
    try:
        check_schema(text)
    except UsageError as error:
        raise Refusal(400, f"{named}: {error}", named) from None
    return text
