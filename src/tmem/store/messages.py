"""What people say, as callers give it: texts, chat messages, lists of parts; read into lines with a name each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tmem.errors import UsageError
from tmem.files import without_surrogates

Messages = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]


ROLES = ("user", "assistant", "system", "developer", "tool", "function")  # that chat APIs have


def heard(messages: Messages, roles: Sequence[str] = ("user",)) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """What those with one of ``roles`` said, (name or "", text) each; and what is not read, with reasons.

    Of several roles those that are no user's have the role's name, unless they have one, so that no "I" is another's.

    That are parts which are no text, and messages of roles that chat APIs do not have and ``roles`` does not name.

    A message's content is a text, a list of parts as chat APIs have them, or nothing (beside tool calls). Raises
    :class:`UsageError` for what is no message.
    """
    several: Sequence[Any] = [messages] if isinstance(messages, str | Mapping) else messages
    lines, passed_over = [], []
    for message in several:
        whole: Any = message if isinstance(message, Mapping) else {"content": message}
        role = whole.get("role", "user")
        if not isinstance(role, str) or not isinstance(whole.get("name"), str | None):
            raise UsageError("a message's 'role' and 'name' are texts, as in {'role': 'user', 'name': 'Ana', ...}")
        if role not in roles:
            if role not in ROLES:
                passed_over.append({"reason": f"only {', '.join(roles)} is listened to, say so in roles", "text": role})
            continue
        text, others = content(whole)
        passed_over += [{"reason": "not a text, not read", "text": kind} for kind in others]
        if text:
            unnamed = role.capitalize() if len(roles) > 1 and role != "user" else ""
            lines.append((clean(whole.get("name") or "") or unnamed, text))
    return lines, passed_over


def content(message: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The text of a message and the kinds of its other parts. Raises :class:`UsageError` for what has neither."""
    value = message.get("content")
    if value is None and "content" in message and "role" in message:
        return "", []
    parts = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(parts, list | tuple):
        raise UsageError("a message is a text, or {'role': ..., 'content': a text or a list of parts}")
    texts, others = [], []
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            texts.append(clean(text))
        elif isinstance(part, Mapping) and isinstance(part.get("type"), str):
            others.append(part["type"])
        else:
            raise UsageError("a part of a message is {'type': 'text', 'text': ...}, or of another named type")
    return "\n".join(text for text in texts if text), others


def clean(text: str) -> str:
    """Text that can be tokenized and stored: no half surrogates, no NUL, no white space around."""
    return without_surrogates(text).replace("\0", "").strip()
