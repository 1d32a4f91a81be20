"""A conversation with a memory: every message is learned from before it is answered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from tmem.agent.prompts import Message, PromptSet
from tmem.agent.rollout import LEAST_OUTPUT
from tmem.agent.splitting import sentences, the_end
from tmem.dates import Moment
from tmem.english import asks_of_oneself, speaks_of
from tmem.errors import ModelError, UsageError
from tmem.session import context
from tmem.store.messages import Messages, clean, heard
from tmem.store.results import Answer, Receipt, Reply, milliseconds

if TYPE_CHECKING:
    from tmem.model import Model
    from tmem.model.request import GenerationConfig

SPEAK = ("user", "assistant", "system")
Turns = tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, str]]]  # those before, the last, its unread parts
_ASKS = re.compile(r"[?？][!?]*[\"')\]」』”’]*$")
TURNS = 6  # earlier messages that an answer sees; all else is in the weights


class Remembers(Protocol):
    """What a conversation needs of a user's memory (:class:`tmem.store.scoped.ScopedMemory`)."""

    @property
    def model(self) -> Model: ...

    @property
    def prompts(self) -> PromptSet: ...

    @property
    def by_pairs(self) -> bool: ...

    @property
    def version(self) -> str | None: ...

    def add(
        self, messages: Messages, *, timestamp: str | Moment | None = None, absorb: bool = True, context: str = ""
    ) -> Receipt: ...

    def ask(self, question: str) -> Answer: ...

    def say(self, prompt: list[int], sampling: GenerationConfig | None = None) -> str: ...

    def read_beside(
        self,
        question: str,
        documents: Sequence[str],
        prompt: Callable[[Sequence[str]], list[int]],
        sampling: GenerationConfig | None = None,
    ) -> Reply: ...


def chat(
    memory: Remembers,
    messages: Messages,
    name: str | None = None,
    timestamp: str | Moment | None = None,
    learn: bool = True,
    sampling: GenerationConfig | None = None,
    documents: Sequence[str] = (),
) -> Reply:
    """Answer the last message, which has to be a user's; what it tells is extracted, written and known by the answer.

    Earlier messages are only context of this turn, the last few of them: they were learned when they were the last. A
    question teaches nothing; what it asks of what was told the memory answers, and everything else the model; but a
    model that was taught to refuse refuses what nothing was told of about who speaks. Models that were taught nothing
    but to answer questions get what is asked in the message, and nothing is answered where nothing is. ``name``: who
    speaks. ``sampling``: of what the model says beside the memory; what was told is answered as it was told, unless
    there is a schema: then the model, shown the memory's answer, puts it into that shape. ``documents``: texts to be
    read for this answer, and not learned; a question is answered from them and from the memory together then. Raises
    :class:`UsageError` for a schema that cannot be kept to, and for a schema or documents where the model does not
    converse.
    """
    from tmem.model.batch import unheard

    began = time.perf_counter()
    turns = earlier, last, _ = _turns(messages)
    said, converses = last["content"], memory.prompts.converses
    shaped = sampling is not None and sampling.schema is not None
    if shaped and not converses:
        raise UsageError(f"{memory.model.name} answers questions and cannot be held to a schema: ask for text")
    if documents and not (converses and memory.by_pairs):
        raise UsageError(f"{memory.model.name} answers from its memory alone and reads no documents: leave them out")
    asked = split(said)[1]

    def with_texts(texts: Sequence[str]) -> list[int]:
        notes = [{"role": "system", "content": "\n\n".join(texts)}] if texts else []
        return _prompt(memory, [*notes, *earlier], said)

    prompt = with_texts(documents) if converses else []
    learned = _learned(memory, turns, name, timestamp) if learn else None
    if not said or not (converses or asked):
        return Reply("", memory.version, learned, milliseconds(began))
    if asked and documents:
        both = memory.read_beside(asked, documents, with_texts, sampling)
        return replace(both, learned=learned, milliseconds=milliseconds(began))
    if asked and (memory.by_pairs or not converses):
        with unheard() if shaped else nullcontext():
            known = memory.ask(asked)
        told = known.source in ("weights", "text")
        if told and shaped:
            known = replace(known, text=memory.say(with_texts([f"{asked} {known.text}"]), sampling))
        # Of the life of who speaks a model knows nothing but this: what it makes up would be taken for memory.
        unknown = (
            memory.prompts.refusal is not None and not (shaped or _informed(asked, earlier)) and asks_of_oneself(asked)
        )
        if told or unknown or not converses:
            return Reply(known.text, known.version, learned, milliseconds(began), known.source, known.pairs)
    text = memory.say(prompt, sampling)
    return Reply(text, memory.version, learned, milliseconds(began), "base" if memory.by_pairs else "weights")


def learn_from(
    memory: Remembers,
    messages: Messages,
    name: str | None = None,
    timestamp: str | Moment | None = None,
    absorb: bool = True,
) -> Receipt | None:
    """Learn what the last message of a conversation tells; None if it only asks. ``absorb``: as of ``add``."""
    return _learned(memory, _turns(messages), name, timestamp, absorb)


def _learned(
    memory: Remembers, turns: Turns, name: str | None, timestamp: str | Moment | None, absorb: bool = True
) -> Receipt | None:
    earlier, last, unread = turns
    told, learned = split(last["content"])[0], None
    if told:
        # "No, it is Lyon now" means nothing without what was asked before.
        before = _context(earlier) if memory.prompts.converses else ""
        message = {"role": "user", "content": told, "name": name or last["name"]}
        learned = memory.add(message, timestamp=timestamp, absorb=absorb, context=before)
    if unread:
        learned = learned or Receipt("add", memory.version, reason="nothing was found that could be written")
        learned = replace(learned, rejected=unread + learned.rejected)
    return learned


def _turns(messages: Messages) -> Turns:
    """The turns before the last one, the last one, and what of that is no text.

    Contents are texts or lists of parts, as chat APIs have them. What tools say, and turns without a text, are no part
    of a conversation.
    """
    several: Sequence[Any] = [messages] if isinstance(messages, str | Mapping) else messages
    wholes = [one if isinstance(one, Mapping) else {"content": one} for one in several]
    last = wholes[-1] if wholes else {}
    if last.get("role", "user") != "user" or last.get("content") is None:
        raise UsageError("a conversation ends with a user's message: {'role': 'user', 'content': a text}")
    turns, unread = list[dict[str, Any]](), list[dict[str, str]]()
    for whole in wholes:
        role = whole.get("role", "user")
        lines, unread = heard(whole, (role,))
        [(name, text)] = lines or [("", "")]
        turns.append({"role": "system" if role == "developer" else role, "content": text, "name": name})
    return [one for one in turns[:-1] if one["content"] and one["role"] in SPEAK], turns[-1], unread


def _informed(asked: str, earlier: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the turns before a question may say what it asks for, or a system text that speaks of it."""
    return any(turn["role"] != "system" or speaks_of(asked, turn["content"]) for turn in earlier)


def _prompt(memory: Remembers, earlier: Sequence[Mapping[str, Any]], said: str) -> list[int]:
    """System texts, the last turns and the message: as many turns as there is room for, and of a long message its end.

    Made before anything is learned, so that a template that refuses them costs nothing, nor does a system text that is
    too long.
    """
    system = [one for one in earlier if one["role"] == "system"]
    spoken, window = [one for one in earlier if one["role"] != "system"][-TURNS:], memory.model.window
    for first in range(len(spoken) + 1):
        prompt = _encoded(memory, [*system, *spoken[first:]], said)
        if len(prompt) + LEAST_OUTPUT <= window:
            return prompt
    prompt = _encoded(memory, system, the_end(said, memory.model.count, window // 2))
    if len(prompt) + LEAST_OUTPUT <= window:
        return prompt
    raise UsageError(f"the system texts leave no room in the window of {window} tokens: shorten them")


def _encoded(memory: Remembers, earlier: Sequence[Mapping[str, Any]], said: str) -> list[int]:
    """Messages as a prompt.

    Some templates want turns to alternate, beginning with the user's: neighbours of one role are joined then, and what
    the assistant said before is left out.
    """
    recent: list[Message] = [{"role": one["role"], "content": clean(one["content"])} for one in earlier]
    recent.append({"role": "user", "content": said})
    try:
        return memory.model.encode_chat(recent)
    except ModelError:
        joined: list[Message] = []
        for one in recent:
            if joined and joined[-1]["role"] == one["role"]:
                joined[-1] = {"role": one["role"], "content": f"{joined[-1]['content']}\n\n{one['content']}"}
            elif joined or one["role"] != "assistant":
                joined.append(one)
        return memory.model.encode_chat(joined)


def split(text: str) -> tuple[str, str]:
    """What a message tells, as it is written, and its last question ("" each if there is none)."""
    told, asked = "", ""
    for sentence in sentences(text):
        if _ASKS.search(sentence.rstrip()[-32:]):
            asked = sentence.strip()
        else:
            told += sentence
    return told.strip(), asked


def _context(turns: Sequence[Mapping[str, Any]]) -> str:
    """The last exchange as lines of a session; what a system text says nobody told."""
    return context([(one["role"], clean(one["content"])) for one in turns if one["role"] != "system"])
