"""OpenAI Agents' session that teaches a memory: the items stay where they are kept, what users said is learned.

from agents import Runner, SQLiteSession
from tmem.adapters.openai_agents import LearningSession

session = LearningSession(SQLiteSession("ana", "chats.db"), memory.scope(user_id="ana"), name="Ana")
await Runner.run(agent, "I live in Lyon.", session=session)

Needs ``openai-agents`` (0.24).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from agents.memory import Session, SessionABC

from tmem.store.checked import CheckedMemory
from tmem.store.messages import content

__all__ = ["LearningSession"]

TAIL = 16  # items that are read at first, to find the last answer
Entry = Any  # an item as the library keeps it: a dict of the Responses API


class LearningSession(SessionABC):
    """A session around another one, which keeps the items.

    A turn that failed leaves the user's message behind, and a retry would store and send it twice. A message that
    nothing follows is therefore no part of the history, and makes way for the next turn; one that only tools followed
    makes way if it is said again. A message is learned when it is answered, once. Clearing the session, or taking items
    out of it, forgets nothing of the memory.
    """

    def __init__(self, kept: Session, memory: CheckedMemory, name: str | None = None) -> None:
        """``kept``: where items are kept. ``name``: who speaks, for "I" in what they say."""
        self.kept, self.memory, self.name = kept, memory, name
        self.session_id = kept.session_id
        self.session_settings = getattr(kept, "session_settings", None)

    async def get_items(self, limit: int | None = None) -> list[Entry]:
        """The latest ``limit`` items of the history, in their order."""
        tail = await self._tail()
        hidden = len(tail) if all(map(_is_user, tail)) else 0
        if limit is None:
            limit = getattr(self.session_settings, "limit", None)
        items = await self.kept.get_items(None if limit is None else limit + hidden)
        items = items[: len(items) - hidden]
        return items if limit is None else items[max(len(items) - limit, 0) :]

    async def add_items(self, items: list[Entry]) -> None:
        """Keep items; what users said is learned when an answer is among them."""
        if not items:
            return
        tail = await self._tail()
        if _is_user(items[0]) and tail and (all(map(_is_user, tail)) or _text(tail[0]) == _text(items[0])):
            for _ in tail:
                await self.kept.pop_item()
            tail = []
        await self.kept.add_items(items)
        answers = [place for place, item in enumerate(items) if _is_answer(item)]
        told = [item for item in [*tail, *items[: answers[-1]]] if _is_user(item)] if answers else []
        if told:
            await asyncio.to_thread(self._learn, told)

    async def pop_item(self) -> Entry | None:
        """Take the latest item out."""
        return await self.kept.pop_item()

    async def clear_session(self) -> None:
        """Take all items out."""
        await self.kept.clear_session()

    async def _tail(self) -> list[Entry]:
        """What stands behind the last answer, however few items the session gives of itself."""
        count = TAIL
        while True:
            items = await self.kept.get_items(count)
            if len(items) < count or any(map(_is_answer, items)):
                return _unanswered(items)
            count *= 2

    def _learn(self, told: Sequence[Entry]) -> None:
        named = {"name": self.name} if self.name else {}
        said = [{"role": "user", "content": text, **named} for text in map(_text, told) if text]
        if said:
            self.memory.add(said)


def _unanswered(items: Sequence[Entry]) -> list[Entry]:
    """What stands behind the last answer."""
    answers = [place for place, item in enumerate(items) if _is_answer(item)]
    return list(items[answers[-1] + 1 if answers else 0 :])


def _text(item: Entry) -> str:
    """What a user's message says; "" for what is none."""
    return content({"content": item.get("content", "")})[0] if _is_user(item) else ""


def _is_user(item: Entry) -> bool:
    return isinstance(item, dict) and item.get("role") == "user"


def _is_answer(item: Entry) -> bool:
    return isinstance(item, dict) and item.get("role") == "assistant"
