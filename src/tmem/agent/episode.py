"""The episode: a stream to read and what is asked in the end, or a game of searching for answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tmem.agent.prompts import Message

JOINER = "\n\n"  # between two units of a stream


@dataclass(frozen=True)
class Ask:
    """A question to answer at the end of an episode; ``text`` is what the model is asked.

    ``query`` is what a memory is searched with: the question without hints and options ("": ``text``).
    """

    id: str
    text: str
    query: str = ""


@dataclass(frozen=True)
class SearchGame:
    """Questions that are answered by searching: ``find`` gives the results of a query as text, in at most ``turns``."""

    find: Callable[[str], str]
    turns: int


@dataclass(frozen=True)
class Episode:
    """A stream of units (sessions, turns, tool results) and the questions that follow it.

    ``notes``: the stream cut finer, for memories that retrieve: (text, the unit it is from); else the units themselves.
    ``answer_prompt`` takes (question, context) and gives the messages of a benchmark's own answer prompt, and
    ``answer_tokens`` is its longest reply; None: as the prompt set and the model's settings have it.
    ``gold``: pairs that a benchmark knows to be told, (question, answer, unit), for the memories of that name alone.
    ``texts``: for a peer that is trained on texts, (text, unit); else the units themselves.
    With ``search`` there is no stream: units come into being as the model searches.
    """

    id: str
    units: tuple[str, ...]
    asks: tuple[Ask, ...]
    preamble: str = ""  # said before the raw text that an answer sees
    notes: tuple[tuple[str, int], ...] = ()
    answer_prompt: Callable[[str, str], list[Message]] | None = None
    answer_tokens: int | None = None
    gold: tuple[tuple[str, str, int], ...] = ()
    texts: tuple[tuple[str, int], ...] = ()
    search: SearchGame | None = None
