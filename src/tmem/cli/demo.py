"""``tmem demo``: one conversation, read, written into the weights, dropped, and asked about."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from tmem.agent import Episode
from tmem.agent.trajectory import Trajectory
from tmem.evaluation import mean
from tmem.evaluation.records.episode import question_record
from tmem.model import Model
from tmem.policies import make_agent
from tmem.store.memory import Memory
from tmem.tasks.persona import Persona

FACTS = 12
BLOCKS = "▁▂▃▄▅▆▇█"


def tour(model: Model, seed: int, out: Console) -> None:
    """Stream a new conversation and show every step of the model's memory."""
    bench = Persona(FACTS, episodes=1, people="seen")
    [told] = bench.tasks(seed)
    stream = told.episode
    recipe = model.recipe("tmem")
    agent = make_agent(model, recipe, write_tail=True, seed=seed, question_known=False)
    out.rule("[bold]TMEM: a model that learns while it reads")
    out.print(
        f"{escape(model.name)}: {model.hf.num_parameters() / 1e6:.1f} M parameters, frozen. Its memory: Delta, "
        f"{len(model.fast(recipe).target_modules)} small matrices on the last {recipe.layers} layers, zero now.\n"
        f"Two people talk in {len(stream.units)} sessions. The model knows the words; "
        "what they say about themselves is new to it.\n"
    )
    [trajectory] = agent.run([stream], on_write=lambda trajectory: _show_trigger(trajectory, stream, out))
    out.print("All text is gone. What is left is Delta.\n")

    trajectories = {}
    for title, memory in (("no memory", "none"), ("last session", "tail"), ("full text", "full")):
        [trajectories[title]] = make_agent(model, recipe, memory, write_tail=True, seed=seed).run([stream])
    trajectories["TMEM"] = trajectory
    scored = {
        title: [question_record(bench, item, trajectory, len(stream.units)) for item in told.items]
        for title, trajectory in trajectories.items()
    }
    _show_answers(scored, out)
    _show_scores(scored, out)
    _forget_one(model, trajectory, out)
    out.print(
        "TMEM's prompt was the bare question, as for no memory: its answers come from Delta.\n"
        f"Another conversation: tmem demo --seed {seed + 1}. Over many of them: tmem eval persona."
    )


def _show_trigger(trajectory: Trajectory, stream: Episode, out: Console) -> None:
    """The last trigger: the text, the pairs, the write."""
    write = trajectory.writes[-1]
    text = "\n".join(line for unit in write.units for line in stream.units[unit].splitlines() if line.strip())
    title = f"reads {write.tokens} tokens"
    out.print(Panel(escape(text), title=title, title_align="left", border_style="dim"))
    out.print(f"extracts {len(write.pairs)} question-answer pairs")
    for pair in write.pairs:
        out.print(f"  [cyan]{escape(pair.question)}[/cyan] {escape(pair.answer)}", highlight=False)
    for dropped in write.dropped:
        out.print(f"  [yellow]left out: {escape(dropped.reason)}[/yellow] {escape(dropped.text)}", highlight=False)
    account = write.account
    if not account.applied:
        out.print(f"writes nothing: {account.reason}\n")
        return
    losses = account.new_loss
    shown = losses[:: -(-len(losses) // 24)]
    bars = "".join(BLOCKS[min(7, round(7 * loss / max(*losses, 1e-9)))] for loss in shown)
    rehearsed = f" (and rehearses {account.rehearsed})" if account.rehearsed else ""
    out.print(
        f"writes them into Delta{rehearsed}: loss {losses[0]:.2f} [cyan]{bars}[/cyan] {losses[-1]:.2f} "
        f"in {account.steps} steps, |Delta|/|W| = {account.delta_ratio:.3f}\n",
        highlight=False,
    )


def _forget_one(model: Model, trajectory: Trajectory, out: Console) -> None:
    """Write the same pairs into a memory that lasts, and forget one of them."""
    with tempfile.TemporaryDirectory() as home, Memory(model, home) as memories:
        memory = memories.scope(user_id="demo")
        memory.add(pairs=[(pair.question, pair.answer) for pair in trajectory.ledger])
        known = [row for row in memory.get_all() if memory.ask(row["question"]).text == row["answer"]]
        if not known:
            return
        gone, others = known[0], known[1:]
        out.print("\nForget one pair:", highlight=False)
        receipt = memory.forget([gone["id"]])
        still = sum(memory.ask(row["question"]).text == row["answer"] for row in others)
        checked = memory.verify(deep=True)["weights"] == receipt.details["weights"]
        left = any(gone["question"].encode() in path.read_bytes() for path in Path(home).rglob("*") if path.is_file())
        out.print(
            f"  [cyan]{escape(gone['question'])}[/cyan] [dim]before[/dim] {escape(gone['answer'])}   "
            f"[dim]after[/dim] {escape(memory.ask(gone['question']).text)}\n"
            f"  of the {len(others)} other pairs that were known, {still} still are\n"
            f"  receipt: {receipt.version}, written anew in {receipt.milliseconds / 1000:.1f} s; "
            f"weights {receipt.details['weights'][:16]}, "
            f"{'the same' if checked else 'NOT the same'} when trained from nothing; "
            f"its text {'is still' if left else 'is nowhere'} in the home\n",
            highlight=False,
        )


def _show_answers(scored: dict[str, list[dict[str, Any]]], out: Console) -> None:
    """Every question with its answer before and after reading, and with all the text in the prompt."""
    for none, full, tmem in zip(scored["no memory"], scored["full text"], scored["TMEM"], strict=True):
        gold = f"[dim]{tmem['category']}; gold: {escape(tmem['gold'][0])}[/dim]"
        out.print(f"[bold]{escape(tmem['question'])}[/bold] {gold}", highlight=False)
        answers = ((label, _answer(item)) for label, item in (("before", none), ("after", tmem), ("full text", full)))
        out.print("  " + "   ".join(f"[dim]{label}[/dim] {text}" for label, text in answers), highlight=False)


def _answer(item: dict[str, Any]) -> str:
    short = "no information" if item["prediction"] == "No information available" else item["prediction"]
    right = _right(item)
    return f"[{'green' if right else 'red'}]{escape(short)} {'✓' if right else '✗'}[/]"


def _right(item: dict[str, Any]) -> float:
    return float(item["scores"]["tmem_token"]["em"])


def _show_scores(scored: dict[str, list[dict[str, Any]]], out: Console) -> None:
    """Exact match by memory and kind of question."""
    table = Table(title="\nexact match", title_justify="left")
    table.add_column("kind of question")
    for title in ("n", *scored):
        table.add_column(title, justify="right")
    kinds = [item["category"] for item in scored["TMEM"]]
    for kind in [*dict.fromkeys(kinds), "all"]:
        own = [[_right(item) for item in items if kind in (item["category"], "all")] for items in scored.values()]
        table.add_row(kind, str(len(own[0])), *(f"{mean(values):.2f}" for values in own), end_section=kind == kinds[-1])
    out.print(table)
