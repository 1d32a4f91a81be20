"""``tmem run``: one conversation of a LoCoMo-format file, lived through as an agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tmem.agent.episode import Agent
from tmem.agent.trajectory import Trajectory
from tmem.errors import UsageError
from tmem.evaluation import Scored, mean, score
from tmem.files import check_folder, write_text
from tmem.tasks.locomo import Conversation, episode, load


@dataclass(frozen=True)
class RunResult:
    """Answers and trajectories of one conversation."""

    agent: Agent
    conversation: Conversation
    scored: list[Scored]
    trajectories: list[Trajectory]

    def record(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        agent, first = self.agent, self.trajectories[0]
        return {
            "model": agent.model.name,
            "sample": self.conversation.id,
            "memory": agent.memory,
            "recipe": agent.recipe.name if agent.memory == "tmem" else None,
            "lr": agent.recipe.lr if agent.memory == "tmem" else None,
            "budget": agent.budget,
            "seed": agent.seed,
            "question_known": agent.memory == "tmem" and agent.question_known,
            "sessions": len(self.conversation.sessions),
            "triggers": len(first.writes),
            "tail_sessions": len(first.tail),
            "left_out": first.left_out,
            "em": mean(item.em for item in self.scored),
            "f1": mean(item.f1 for item in self.scored),
            "questions": [item.record() for item in self.scored],
        }

    def show(self, out: Console) -> None:
        """The same for people."""
        record = self.record()
        out.print(
            f"{escape(record['sample'])}: {record['sessions']} sessions, {record['triggers']} triggers, "
            f"last working context of {record['tail_sessions']} sessions; memory {record['memory']}"
        )
        if record["left_out"]:
            out.print(f"the {record['left_out']} oldest sessions did not fit the model's window and were left out")
        table = Table()
        for column in ("kind", "question", "answer", "gold", "EM", "F1"):
            table.add_column(column, overflow="fold")
        for item in self.scored:
            row = (item.question.kind, item.question.text, item.prediction, item.question.gold)
            table.add_row(*map(escape, row), f"{item.em:.0f}", f"{item.f1:.2f}")
        out.print(table)
        out.print(f"EM {record['em']:.3f}  F1 {record['f1']:.3f}  over {len(self.scored)} questions")
        if self.agent.prompts.name == "compact" and not self.conversation.facts:
            out.print(
                f"[yellow]{escape(self.agent.model.name)} has only ever read the synthetic persona world: on other "
                "text its scores are expected to be near zero. Use --model with a real instruction-tuned "
                "model.[/yellow]"
            )

    def save(self, folder: Path) -> None:
        """``answers.jsonl`` (one question a line) and ``trajectory.jsonl`` (every action and write)."""
        answers = [item.record() for item in self.scored]
        steps = [record for trajectory in self.trajectories for record in trajectory.records()]
        for name, records in (("answers.jsonl", answers), ("trajectory.jsonl", steps)):
            lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
            write_text(folder / name, "".join(lines))


def run_conversation(
    agent: Agent,
    path: Path,
    sample: str | None,
    questions: int | None,
    folder: Path | None,
    progress: Callable[[str, int, int], None] | None,
) -> RunResult:
    """Read ``sample`` of the file at ``path`` and answer its first ``questions`` questions."""
    by_id = {conversation.id: conversation for conversation in load(path)}
    if sample is not None and sample not in by_id:
        raise UsageError(f"--sample {sample}: {path} has {', '.join(by_id)}")
    conversation = by_id[sample] if sample is not None else next(iter(by_id.values()))
    asked = conversation.questions[:questions]
    if not asked:
        raise UsageError(f"{conversation.id} has no questions to ask")
    if folder is not None:
        check_folder(folder)  # before the work, not after it
    official = agent.prompts.official_questions
    trajectories = agent.run([episode(conversation, asked, official, agent.seed)], progress)
    scored = score([conversation], trajectories, official, agent.seed)
    result = RunResult(agent, conversation, scored, trajectories)
    if folder is not None:
        result.save(folder)
    return result
