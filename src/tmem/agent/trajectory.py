"""What happened in an episode: every action with what the policy saw, and every write with its account."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tmem.agent.extraction import Dropped, QAPair
from tmem.fastweights import Delta, WriteAccount
from tmem.model.request import Voices


@dataclass(frozen=True)
class Action:
    """One sampled action a_t. ``delta`` is the index of the Delta in force, in ``Trajectory.deltas``."""

    kind: str  # answer, step (of a search), extract (pairs for a write), or a text memory's own work
    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    logprobs: tuple[float, ...]  # log pi(token) under theta_0 + Delta_t, at temperature 1
    text: str
    finish: str
    delta: int
    question: str | None = None  # id of the question that it belongs to
    row: int | None = None  # of that Delta, None: theta_0
    voices: Voices | None = None  # where the memory was heard, if not in the prompt itself


@dataclass(frozen=True)
class Write:
    """One write: which units were read, what was extracted from them, and what became of it."""

    action: int  # the extraction, in Trajectory.actions; -1 if nothing was said before
    units: tuple[int, ...]
    tokens: int  # of the trigger context
    status: str  # of the extraction, see Extraction
    pairs: list[QAPair]  # accepted and handed to the write
    dropped: list[Dropped]  # by the parser and by admission
    account: WriteAccount
    rows: tuple[int, ...] = ()  # of the Delta: where each of these pairs stands; () if it has one row


@dataclass
class Trajectory:
    """One episode under one memory. ``deltas[0]`` is zero; every write adds one (if Deltas are kept)."""

    episode: str
    memory: str
    seed: int
    actions: list[Action] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)  # question id -> reply
    deltas: list[Delta] = field(default_factory=list)
    triggers: int = 0  # how often the working context was full (or read to the end) and taken in
    tail: tuple[int, ...] = ()  # units of the last working context
    context_tokens: int = 0  # of memory and raw text that the (first) answer saw
    left_out: int = 0  # oldest units of raw text that did not fit the window
    shown: int = 0  # the most notes or pairs that were retrieved for an answer
    cut_short: int = 0  # how often not all that was to be retrieved fitted
    failed: str | None = None  # why the episode could not be run to its end; its answers are "" then
    memory_size: dict[str, int] = field(default_factory=dict)  # at the end, by unit
    seconds: dict[str, float] = field(default_factory=dict)  # by kind of action, and write: its share of the batches

    @property
    def ledger(self) -> list[QAPair]:
        """Every pair that was written, in order."""
        return [pair for write in self.writes if write.account.applied for pair in write.pairs]

    def records(self) -> list[dict[str, Any]]:
        """One JSON object per action and write, in the order in which they happened."""
        head = {"episode": self.episode, "memory": self.memory, "seed": self.seed}
        writes = []
        for number, write in enumerate(self.writes):
            own = asdict(write) | {"account": write.account.model_dump()}
            writes.append((write.action, head | {"type": "write", "trigger": number} | own))
        records = [record for action, record in writes if action == -1]  # nothing was said before them
        for index, action in enumerate(self.actions):
            records.append(head | {"type": "action"} | asdict(action))
            records += [record for place, record in writes if place == index]
        end = {
            "type": "end",
            "failed": self.failed,
            "tail": self.tail,
            "context_tokens": self.context_tokens,
            "left_out": self.left_out,
        }
        records.append(head | end | {"memory_size": self.memory_size, "seconds": self.seconds})
        return records
