"""Scores of trajectories: every answer against its gold, averaged by kind of question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tmem.agent.trajectory import Trajectory
from tmem.tasks.locomo import Conversation, Question, resolve
from tmem.tasks.scoring import exact_match, f1


@dataclass(frozen=True)
class Scored:
    """One answered question."""

    question: Question
    reply: str
    prediction: str  # the reply as it is scored
    em: float
    f1: float

    def record(self) -> dict[str, Any]:
        """The question with its answer and scores, for a JSONL file."""
        q = self.question
        return {
            "id": q.id,
            "kind": q.kind,
            "category": q.category,
            "question": q.text,
            "gold": q.gold,
            "reply": self.reply,
            "prediction": self.prediction,
            "em": self.em,
            "f1": self.f1,
        }


def score(
    conversations: Sequence[Conversation], trajectories: Iterable[Trajectory], official: bool, seed: int
) -> list[Scored]:
    """Score every answer of ``trajectories`` against the questions of ``conversations``."""
    questions = {question.id: question for conversation in conversations for question in conversation.questions}
    scored = []
    for trajectory in trajectories:
        for question_id, reply in trajectory.answers.items():
            question = questions[question_id]
            prediction = resolve(question, reply, official, seed)
            scored.append(
                Scored(
                    question,
                    reply,
                    prediction,
                    exact_match(prediction, question.gold),
                    f1(prediction, question.gold),
                )
            )
    return scored


def mean(values: Iterable[float]) -> float:
    """The mean, 0.0 of nothing."""
    items = list(values)
    return sum(items) / len(items) if items else 0.0


def by_kind(scored: Sequence[Scored]) -> dict[str, dict[str, float]]:
    """``{kind: {"em", "f1", "n"}}`` in alphabetical order."""
    table = {}
    for kind in sorted({item.question.kind for item in scored}):
        own = [item for item in scored if item.question.kind == kind]
        table[kind] = {
            "em": mean(item.em for item in own),
            "f1": mean(item.f1 for item in own),
            "n": len(own),
        }
    return table
