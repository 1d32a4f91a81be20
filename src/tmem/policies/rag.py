"""Plain retrieval: the stream is cut into notes, and the notes that are most like the question go into the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from tmem.agent.episode import Ask
from tmem.agent.rollout import Rollout, Steps, TailUse
from tmem.policies.plain import Plain
from tmem.retrieval import BM25


def lookup(rollout: Rollout, texts: Sequence[str], asks: Sequence[Ask]) -> list[list[str]]:
    """For every question the agent's ``top_k`` of these texts, best first, as far as :func:`that_fit`."""
    with rollout.timed("retrieve"):
        index = (rollout.agent.retriever or BM25)(texts)
        found = [[texts[i] for i in index.top(ask.query or ask.text, rollout.agent.top_k)] for ask in asks]
        return [that_fit(rollout, own) for own in found]


def that_fit(rollout: Rollout, texts: Sequence[str]) -> list[str]:
    """The first of these texts, as many as half the window has room for; both numbers go into the trajectory."""
    room, kept = rollout.model.window // 2, []
    for text in texts:
        room -= rollout.model.count(text) + 1
        if room < 0:
            break
        kept.append(text)
    trajectory = rollout.trajectory
    trajectory.shown = max(trajectory.shown, len(kept))
    trajectory.cut_short += len(kept) < len(texts)
    return kept


class Rag(Plain):
    """BM25 (or dense) top-k over all notes, in the order of their score."""

    name = "rag"
    tail: TailUse = "observed"

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(rollout)
        self.notes: list[str] = []

    def observe(self, units: Sequence[int]) -> Steps[None]:
        yield from ()
        self.notes += self.rollout.notes(units)

    def recall(self, asks: Sequence[Ask], tail: Sequence[int]) -> Steps[list[str]]:
        yield from ()
        return ["\n".join(found) for found in lookup(self.rollout, self.notes, asks)]

    def size(self) -> dict[str, int]:
        """``shown`` of ``notes``: equal numbers mean that nothing was chosen, only reordered."""
        return {"notes": len(self.notes), "shown": self.rollout.trajectory.shown}
