"""``tmem demo``: one conversation, read, written into the weights, dropped, and asked about."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from tmem.agent.episode import Agent, Episode
from tmem.agent.trajectory import Trajectory
from tmem.evaluation import Scored, mean, score
from tmem.model import Model
from tmem.tasks.locomo import episode, parse_sample
from tmem.tasks.persona import make_sample

FACTS, SESSIONS = 12, 3
BLOCKS = " ▁▂▃▄▅▆▇█"


def tour(model: Model, seed: int, out: Console) -> None:
    """Stream a conversation of people that the model has never seen, and show every step of its memory."""
    conversation = parse_sample(make_sample(seed, 0, SESSIONS, FACTS, "unseen"))
    stream = episode(conversation, conversation.questions, official=False, seed=seed)
    recipe = model.recipe("tmem")
    agent = Agent.of(model, recipe, write_tail=True, seed=seed, keep_deltas=True)
    out.rule("[bold]TMEM: a model that learns while it reads")
    out.print(
        f"{model.name}: {model.hf.num_parameters() / 1e6:.1f} M parameters, frozen. Memory: B matrices of rank "
        f"{recipe.rank} on the last {recipe.layers} layers, zero at the start.\n"
        f"{' and '.join(conversation.speakers)} talk in {SESSIONS} sessions; the model has never seen these people, "
        "nor most of the words they use.\n"
    )
    trajectory = agent.run([stream])[0]
    for index in range(len(trajectory.writes)):
        _show_trigger(trajectory, stream, index, out)

    memories = {"no memory": "none", "last session": "tail", "whole text": "full"}
    scored: dict[str, list[Scored]] = {}
    for title, memory in memories.items():
        other = Agent.of(model, recipe, memory=memory, seed=seed)
        scored[title] = score([conversation], other.run([stream]), False, seed)
    scored["TMEM"] = score([conversation], [trajectory], False, seed)
    _show_answers(scored, out)
    out.print(
        "\nTMEM answered from its weights alone: its prompt was the bare question. "
        "Another conversation: tmem demo --seed 8. Figures over many: tmem eval persona."
    )


def _show_trigger(trajectory: Trajectory, stream: Episode, index: int, out: Console) -> None:
    """One trigger: the text, the pairs, the write."""
    write = trajectory.writes[index]
    text = "\n".join(line for unit in write.units for line in stream.units[unit].splitlines() if line.strip())
    title = f"reads {write.tokens} tokens"
    out.print(Panel(escape(text), title=title, title_align="left", border_style="dim"))
    for pair in write.pairs:
        out.print(f"  [cyan]{escape(pair.question)}[/cyan] {escape(pair.answer)}")
    for dropped in write.dropped:
        out.print(f"  [yellow]not written: {escape(dropped.reason)}[/yellow] {escape(dropped.text)}")
    account = write.account
    if account.applied:
        losses = account.new_loss
        bars = "".join(BLOCKS[min(8, round(8 * loss / max(losses[0], 1e-9)))] for loss in losses)
        out.print(
            f"  writes {account.pairs} pairs (rehearsing {account.rehearsed}): loss {losses[0]:.2f} {bars} "
            f"{losses[-1]:.2f}; |Delta|/|W| = {account.delta_ratio:.3f}; text dropped\n"
        )
    else:
        out.print(f"  nothing written: {account.reason}\n")


def _show_answers(scored: dict[str, list[Scored]], out: Console) -> None:
    table = Table(title="asked afterwards", title_justify="left")
    table.add_column("question")
    for title in [*scored, "gold"]:
        table.add_column(title, overflow="fold")
    rows = zip(*scored.values(), strict=True)
    for row in rows:
        cells = [f"[{'green' if item.em else 'red'}]{escape(item.prediction)}[/]" for item in row]
        table.add_row(
            f"{escape(row[0].question.text)} [dim]({row[0].question.kind})[/dim]", *cells, row[0].question.gold
        )
    table.add_section()
    means = [f"{mean(item.em for item in items):.2f}" for items in scored.values()]
    table.add_row("[bold]exact match", *means, "")
    single = [f"{mean(i.em for i in items if i.question.kind == 'single-hop'):.2f}" for items in scored.values()]
    table.add_row("[bold]exact match, single-hop", *single, "")
    out.print(table)
