"""What calls give: receipts, answers, replies."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, NotRequired, TypedDict

Record = dict[str, Any]


class PairRecord(TypedDict):
    """A pair with all that is known of it. ``recalled``, of what was just written: as in :class:`Receipt`."""

    id: str
    question: str
    answer: str
    status: str  # active, pending, superseded, quarantined, forgotten
    supersedes: str | None  # the pair whose place it took
    episode: str | None
    created: str
    timestamp: str | None  # when it was said, ISO
    metadata: Record | None
    recalled: NotRequired[bool | None]


Moved = TypedDict("Moved", {"with": float, "without": float, "moved": float})


class WhyRecord(PairRecord, Moved):
    """A pair, and an answer's log-probability per token ``with`` it, trained ``without`` it, and the difference."""


class VersionRecord(TypedDict):
    """A version of a memory's weights."""

    id: str
    kind: str  # the call that made it
    tag: str | None
    created: str
    weights: str | None  # sha256 of the tensors
    account: Record  # what its training said of itself


class GrowthRecord(TypedDict):
    """How many pairs held in a version."""

    id: str
    kind: str
    created: str
    pairs: int


class Difference(TypedDict):
    """What one version knows and another does not."""

    added: list[PairRecord]
    removed: list[PairRecord]


class Stats(TypedDict):
    """The size of a memory: pairs by status, versions, files of weights and their bytes."""

    pairs: dict[str, int]
    versions: int
    snapshots: int
    bytes: int


@dataclass(frozen=True)
class Receipt:
    """What a call did. ``rejected``: what was found and not written, and why; ``version`` is the one in force now.

    ``pairs`` are as ``get`` gives them, those of a write with ``recalled``: whether the weights now give the answer
    (None: not trained on yet, or not put in force).
    """

    kind: str
    version: str | None
    pairs: list[PairRecord] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    reason: str | None = None  # why nothing was written, if nothing was
    tokens: int = 0  # read and written by the model
    milliseconds: float = 0.0
    details: Record = field(default_factory=dict)

    def record(self) -> Record:
        """The receipt as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """A reply, the version that gave it, and the ids of written pairs that the prompt showed (none by default).

    ``source``: what it is from. ``weights``; ``text``, the pair that the question means, since the weights do not give
    its answer, or the pairs that the prompt showed; ``base``, the model without a memory; ``nothing``: it was never
    told. ``pairs``: ids of those that the question means.
    """

    text: str
    version: str | None
    shown: list[str]
    milliseconds: float
    source: str = "weights"
    pairs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reply:
    """A turn of a conversation. ``text`` is "" if there was nothing to answer; ``learned``: what the message taught.

    ``source`` and ``pairs``: what the text is from, as in :class:`Answer`; of a question with documents ``both``,
    or ``documents`` where the memory was not heard. ``moved``: by how many nats ``memory`` and each of ``documents``
    made that text likelier.
    """

    text: str
    version: str | None
    learned: Receipt | None
    milliseconds: float
    source: str = "nothing"
    pairs: list[str] = field(default_factory=list)
    moved: Record | None = None


def milliseconds(began: float) -> float:
    """Since ``began``, to a tenth."""
    return round(1000 * (time.perf_counter() - began), 1)
