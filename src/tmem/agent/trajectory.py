"""What happened in an episode: every action with what the policy saw, and every write with its account."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tmem.agent.extraction import Dropped, QAPair
from tmem.fastweights import Delta, WriteAccount


@dataclass(frozen=True)
class Action:
    """One sampled action a_t. ``delta`` is the index of the Delta in force, in ``Trajectory.deltas``."""

    kind: Literal["extract", "answer"]
    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    logprobs: tuple[float, ...]  # log pi(token) under theta_0 + Delta_t, at temperature 1
    text: str
    finish: str
    delta: int
    question: str | None = None  # id of the question that an answer belongs to


@dataclass(frozen=True)
class Write:
    """One trigger: which units were read, what was extracted from them, and what the write did."""

    units: tuple[int, ...]
    tokens: int  # of the trigger context
    status: str  # of the extraction, see Extraction
    pairs: list[QAPair]  # admitted and handed to the write
    dropped: list[Dropped]  # by the parser and by admission
    account: WriteAccount


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
    tail: tuple[int, ...] = ()  # units of the last working context
    context_tokens: int = 0  # of raw text that the answers saw
    left_out: int = 0  # oldest units that did not fit a full history
    seconds: dict[str, float] = field(default_factory=dict)  # extract, write, answer (of the whole batch)

    @property
    def ledger(self) -> list[QAPair]:
        """Every pair that was written, in order."""
        return [pair for write in self.writes if write.account.applied for pair in write.pairs]

    def records(self) -> list[dict[str, Any]]:
        """One JSON object per action and write, in the order in which they happened."""
        head = {"episode": self.episode, "memory": self.memory, "seed": self.seed}
        records: list[dict[str, Any]] = []
        extractions = iter([action for action in self.actions if action.kind == "extract"])
        for index, write in enumerate(self.writes):
            records.append(head | {"type": "action", "trigger": index} | asdict(next(extractions)))
            account = write.account.model_dump()
            records.append(head | {"type": "write", "trigger": index} | asdict(write) | {"account": account})
        records += [head | {"type": "action"} | asdict(a) for a in self.actions if a.kind == "answer"]
        end = {"type": "end", "tail": self.tail, "context_tokens": self.context_tokens}
        records.append(head | end | {"left_out": self.left_out, "seconds": self.seconds})
        return records
