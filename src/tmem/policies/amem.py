"""A-MEM (arXiv 2502.12110): notes that the model describes, links and rewrites as new ones come in.

After the published reproduction, with guards where it breaks on what small models write: links are checked and map the
number that was shown to the note that was meant; the first note has nothing to evolve with; a reply that is not JSON
leaves the note as it is and is counted; an answer sees no note twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tmem.agent.episode import Ask
from tmem.agent.prompts import Message
from tmem.agent.rollout import LEAST_OUTPUT, Rollout, Steps, TailUse
from tmem.policies.plain import Plain
from tmem.policies.rag import that_fit
from tmem.retrieval import BM25
from tmem.texts import said

NEIGHBOURS = 5
REBUILD_AFTER = 100  # evolved notes; until then a rewritten note is found by its old text
LONGEST_REPLY = 1000


@dataclass
class Note:
    """One memory; ``links`` are positions in the order of arrival."""

    content: str
    keywords: list[str] = field(default_factory=list)
    context: str = "General"
    tags: list[str] = field(default_factory=list)
    links: list[int] = field(default_factory=list)

    def first_index(self) -> str:
        """What a new note is found by."""
        keywords, tags = ", ".join(self.keywords), ", ".join(self.tags)
        return f"content:{self.content} context:{self.context} keywords: {keywords} tags: {tags}"

    def later_index(self) -> str:
        """What all notes are found by after a rebuild."""
        return f"{self.content} , {self.context} {' '.join(self.keywords)} {' '.join(self.tags)}"

    def line(self) -> str:
        """The note as an answer sees it."""
        keywords, tags = ", ".join(self.keywords), ", ".join(self.tags)
        return f"memory: {self.content} context: {self.context} keywords: {keywords} tags: {tags}"


class AMem(Plain):
    """Notes with analysis, links and evolution; retrieved by keywords that the model makes of the question."""

    name = "amem"
    tail: TailUse = "observed"

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(rollout)
        self.notes: list[Note] = []
        self.index: list[str] = []
        self.evolved = 0
        self.malformed = 0  # replies that were no JSON object, or prompts that did not fit

    def observe(self, units: Sequence[int]) -> Steps[None]:
        new = [Note(text) for text in self.rollout.notes(units)]
        # An analysis depends on its own note alone: all of them are one batch.
        names = range(len(self.notes), len(self.notes) + len(new))
        for note, reply in zip(
            new, (yield from self._ask("analyze", [analyze(n.content) for n in new], names)), strict=True
        ):
            note.keywords, note.tags = _texts(reply.get("keywords")), _texts(reply.get("tags"))
            if isinstance(reply.get("context"), str) and reply["context"].strip():
                note.context = reply["context"].strip()
        for note in new:
            neighbours = self._top(note.content, NEIGHBOURS, "index")
            before = self.evolved
            if neighbours:
                messages = evolve(note, [self.notes[i] for i in neighbours])
                [reply] = yield from self._ask("evolve", [messages], [len(self.notes)])
                self._evolve(note, neighbours, reply)
            self.notes.append(note)
            self.index.append(note.first_index())
            if self.evolved > before and self.evolved % REBUILD_AFTER == 0:
                self.index = [old.later_index() for old in self.notes]

    def _evolve(self, note: Note, neighbours: Sequence[int], reply: dict[str, Any]) -> None:
        """Do what the reply asks for. Neighbours were shown as numbers from 0: anything else is no neighbour."""
        if reply.get("should_evolve") not in (True, "true", "True"):
            return
        actions = _texts(reply.get("actions"))
        if "strengthen" in actions:
            for shown in _list(reply.get("suggested_connections")):
                if type(shown) is int and 0 <= shown < len(neighbours) and neighbours[shown] not in note.links:
                    note.links.append(neighbours[shown])
            note.tags = _texts(reply.get("tags_to_update")) or note.tags
        if "update_neighbor" in actions:
            tags, contexts = _list(reply.get("new_tags_neighborhood")), _list(reply.get("new_context_neighborhood"))
            for place, index in enumerate(neighbours):
                if place < len(tags) and _texts(tags[place]):
                    self.notes[index].tags = _texts(tags[place])
                if place < len(contexts) and isinstance(contexts[place], str) and contexts[place].strip():
                    self.notes[index].context = contexts[place].strip()
        self.evolved += 1

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        if not self.notes:
            return [""] * len(asks)
        ids = [ask.id for ask in asks]
        replies = yield from self._ask("keywords", [keywords(ask.query or ask.text) for ask in asks], ids, ids)
        texts = []
        for ask, reply in zip(asks, replies, strict=True):
            wanted = reply.get("keywords")
            wanted = ", ".join(_texts(wanted)) or (wanted if isinstance(wanted, str) else "")
            chosen: dict[int, None] = {}
            for index in self._top(wanted or ask.query or ask.text, self.rollout.agent.top_k, "retrieve"):
                chosen |= dict.fromkeys([index, *self.notes[index].links])
            texts.append("\n".join(that_fit(self.rollout, [self.notes[index].line() for index in chosen])))
        return texts

    def _top(self, query: str, k: int, kind: str) -> list[int]:
        with self.rollout.timed(kind):
            return (self.rollout.agent.retriever or BM25)(self.index).top(query, k) if self.index else []

    def _ask(
        self, kind: str, chats: Sequence[list[Message]], names: Sequence[object], asks: Sequence[str] | None = None
    ) -> Steps[list[dict[str, Any]]]:
        """The JSON object of each reply, {} for one without; what does not fit the window is not asked."""
        rollout = self.rollout
        prompts = [rollout.prompt(chat) for chat in chats]
        asked = [i for i, prompt in enumerate(prompts) if rollout.room(prompt, LEAST_OUTPUT) == LEAST_OUTPUT]
        limit = min(LONGEST_REPLY, rollout.model.settings.max_new_tokens_memory)
        replies: list[dict[str, Any]] = [{} for _ in chats]
        if asked:
            own = [asks[i] for i in asked] if asks else None
            done = yield from rollout.say(kind, [prompts[i] for i in asked], [names[i] for i in asked], limit, own)
            for i, completion in zip(asked, done, strict=True):
                replies[i] = read_object(said(completion.text))
        self.malformed += sum(not reply for reply in replies)
        return replies

    def size(self) -> dict[str, int]:
        links = sum(len(note.links) for note in self.notes)
        return {
            "notes": len(self.notes),
            "shown": self.rollout.trajectory.shown,
            "links": links,
            "evolved": self.evolved,
            "malformed": self.malformed,
        }


def read_object(text: str) -> dict[str, Any]:
    """The first JSON object of a text, {} if there is none."""
    start = text.find("{")
    with suppress(ValueError, RecursionError):
        value, _ = json.JSONDecoder(strict=False).raw_decode(text[start:])
        if start >= 0 and isinstance(value, dict):
            return value
    return {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [item.strip() for item in _list(value) if isinstance(item, str) and item.strip()]


# ---- what the model is asked (own wording of what the published prompts require) ----

_JSON_ONLY = {"role": "system", "content": "Respond with a JSON object and nothing else."}


def analyze(content: str) -> list[Message]:
    """Describe a note by keywords, context and tags."""
    ask = (
        "Describe the content below for a memory that will be searched later.\n"
        "- keywords: at least three specific ones (nouns, verbs, key concepts), the most important first; "
        "neither the speaker's name nor times\n"
        "- context: one sentence with the topic, the key points and for whom or what they matter\n"
        "- tags: at least three broad ones (domain, format, type)\n"
        'Return JSON: {"keywords": ["..."], "context": "...", "tags": ["..."]}\n\n'
        f"Content:\n{content}"
    )
    return [_JSON_ONLY, {"role": "user", "content": ask}]


def evolve(note: Note, neighbours: Sequence[Note]) -> list[Message]:
    """Decide how a new note and its nearest neighbours change each other."""
    shown = "\n".join(f"memory index:{i} {neighbour.line()}" for i, neighbour in enumerate(neighbours))
    ask = (
        "A new memory has come in. Decide whether it should evolve together with its nearest neighbours.\n"
        f"New memory\ncontext: {note.context}\ncontent: {note.content}\nkeywords: {', '.join(note.keywords)}\n\n"
        f"The {len(neighbours)} nearest neighbours:\n{shown}\n\n"
        'If it should not, "should_evolve" is false. If it should, "actions" holds one or both of "strengthen" ('
        'connect the new memory: "suggested_connections" are memory indices from above, "tags_to_update" are its tags) '
        'and "update_neighbor" ("new_context_neighborhood" and "new_tags_neighborhood" have one entry per neighbour, '
        "in the order above, the old one where nothing changes).\n"
        'Return JSON: {"should_evolve": true, "actions": ["strengthen"], "suggested_connections": [0], '
        '"tags_to_update": ["..."], "new_context_neighborhood": ["..."], "new_tags_neighborhood": [["..."]]}'
    )
    return [_JSON_ONLY, {"role": "user", "content": ask}]


def keywords(question: str) -> list[Message]:
    """Make a question into keywords to search with."""
    ask = f'Give several keywords to search a memory for this question, as JSON: {{"keywords": ["..."]}}\n\n{question}'
    return [_JSON_ONLY, {"role": "user", "content": ask}]
