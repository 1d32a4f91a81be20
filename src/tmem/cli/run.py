"""``tmem run``: one conversation of a LoCoMo-format file, read and answered by an agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from tmem.agent import Agent, Progress
from tmem.agent.trajectory import Trajectory
from tmem.cli.common import show_table
from tmem.errors import UsageError
from tmem.evaluation import mean
from tmem.evaluation.records.episode import question_record
from tmem.files import check_folder, write_text
from tmem.tasks.locomo import Conversation, LoCoMo, task


@dataclass(frozen=True)
class RunResult:
    """Answers and trajectories of one conversation."""

    agent: Agent
    conversation: Conversation
    answers: list[dict[str, Any]]
    trajectories: list[Trajectory]

    def record(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        agent, first = self.agent, self.trajectories[0]
        return {
            "model": agent.model.name,
            "sample": self.conversation.id,
            "memory": agent.policy.name,
            "recipe": agent.recipe.name if agent.policy.learns else None,
            "lr": agent.recipe.lr if agent.policy.learns else None,
            "budget": agent.budget,
            "seed": agent.seed,
            "question_known": agent.split,
            "sessions": len(self.conversation.sessions),
            "triggers": first.triggers,
            "tail_sessions": len(first.tail),
            "left_out": first.left_out,
            "em": mean(answer["em"] for answer in self.answers),
            "f1": mean(answer["f1"] for answer in self.answers),
            "questions": self.answers,
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
        keys = ("kind", "question", "prediction", "gold")
        cells = [(*(one[key] for key in keys), f"{one['em']:.0f}", f"{one['f1']:.2f}") for one in self.answers]
        show_table(out, ("kind", "question", "answer", "gold", "EM", "F1"), cells)
        out.print(f"EM {record['em']:.3f}  F1 {record['f1']:.3f}  over {len(self.answers)} questions")
        if self.agent.prompts.name == "compact" and not self.conversation.facts:
            out.print(
                f"[yellow]{escape(self.agent.model.name)} has only ever read the synthetic persona world: on other "
                "text its scores are expected to be near zero. Use --model with a real instruction-tuned "
                "model.[/yellow]"
            )

    def save(self, folder: Path) -> None:
        """``answers.jsonl`` (one question a line) and ``trajectory.jsonl`` (every action and write)."""
        steps = [record for trajectory in self.trajectories for record in trajectory.records()]
        for name, records in (("answers.jsonl", self.answers), ("trajectory.jsonl", steps)):
            lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
            write_text(folder / name, "".join(lines))


def run_conversation(
    agent: Agent,
    path: Path,
    sample: str | None,
    questions: int | None,
    folder: Path | None,
    progress: Callable[[Progress], None] | None,
) -> RunResult:
    """Read ``sample`` of the file at ``path`` and answer its first ``questions`` questions."""
    official = agent.prompts.official_questions
    bench = LoCoMo(path, official)
    bench.scorers = ("tmem_token",)
    by_id = {conversation.id: conversation for conversation in bench.conversations}
    if sample is not None and sample not in by_id:
        raise UsageError(f"--sample {sample}: {path} has {', '.join(by_id)}")
    conversation = by_id[sample] if sample is not None else next(iter(by_id.values()))
    asked = conversation.questions[:questions]
    if not asked:
        raise UsageError(f"{conversation.id} has no questions to ask")
    if folder is not None:
        check_folder(folder)  # before the work, not after it
    read = task(conversation, asked, official, agent.seed)
    trajectories = agent.run([read.episode], progress)
    items = {item.id: item for item in read.items}
    answers = [
        flat(question_record(bench, items[name], trajectory, len(read.episode.units)))
        for trajectory in trajectories
        for name in trajectory.answers
    ]
    result = RunResult(agent, conversation, answers, trajectories)
    if folder is not None:
        result.save(folder)
    return result


def flat(record: dict[str, Any]) -> dict[str, Any]:
    """A question's record, as far as one run needs it."""
    kept = {key: record[key] for key in ("id", "question", "reply", "prediction")}
    return kept | {"kind": record["category"], "gold": record["gold"][0], **record["scores"]["tmem_token"]}
