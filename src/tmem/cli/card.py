"""``tmem card``: what a recipe does to a model, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tmem.cli.common import (
    DEFAULT_MODEL,
    JsonOption,
    ModelOption,
    RateOption,
    RecipeName,
    ThreadsOption,
    Weights,
    WeightsOption,
    choose_recipe,
    err,
    load_model,
    print_json,
    wide,
)
from tmem.cli.evaluate import numbers, recipe_changes

ROWS = (  # what a line says, the entry, and its part
    ("held by the weights alone", "held by weights", None),
    ("ask, in the written words: F1", "ask, same words", "f1"),
    ("ask, in new words: F1", "ask, new words", "f1"),
    ("  its own pair was meant", "ask, new words", "own pair"),
    ("  refused, though told", "ask, new words", "refused"),
    ("never told, or of other people: refused", "never told, refused", None),
    ("general questions: answered as theta_0 does, to the bit", "general, as theta_0", None),
    ("Delta in force, in the written words: F1", "same words", "f1"),
    ("Delta in force, in new words: F1", "new words", "f1"),
    ("Delta in force, in the answer prompt: F1", "answer prompt", "f1"),
    ("Delta in force, general questions: answers changed", "general, in force", "changed"),
)


def card(
    model: ModelOption = DEFAULT_MODEL,
    recipe: Annotated[RecipeName, typer.Option("--recipe", help="How a write trains.")] = RecipeName.tmem,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: rank=12, fresh.noise=0.")
    ] = None,
    lr: RateOption = None,
    pairs: Annotated[str, typer.Option(help="How many pairs a memory gets, one card column each.")] = "16,80,400",
    source: Annotated[
        Path | None, typer.Option("--questions", help="Pairs of your own: JSON lines of question, answer, reworded.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Also write a figure (SVG) into this folder.")] = None,
    threads: ThreadsOption = None,
    weights: WeightsOption = Weights.auto,
    as_json: JsonOption = False,
) -> None:
    """See what a recipe does to a model: what is recalled, what is refused, what else changes."""
    from tmem.evaluation.card import asked, figure
    from tmem.evaluation.card import card as make
    from tmem.evaluation.reporting.svg import save

    sizes = sorted(set(numbers("--pairs", pairs)))
    questions = asked(source)
    loaded = load_model(model, threads, weights=weights)
    chosen = choose_recipe(loaded, recipe.value, lr, **recipe_changes(change or []))
    with err.status("begins") as status:
        result = make(loaded, chosen, sizes, questions, lambda text: status.update(escape(text)))
    if plot is not None:
        save([figure(result)], plot)
    if as_json:
        print_json(result)
    else:
        wide().print(table(result))


def table(result: dict[str, Any]) -> Table:
    """The card as a table: a column for every size."""
    gate = f", gate by {result['gate']}" if result["gate"] else ""
    shown = Table(title=escape(f"{result['model']}, recipe {result['recipe']['name']}{gate}"), title_justify="left")
    shown.add_column("%, with 95 % intervals")
    for entry in result["sizes"]:
        shown.add_column(f"{entry['pairs']} pairs", justify="right")
    for label, name, part in ROWS:
        if all(name in entry for entry in result["sizes"]):
            found = [entry[name] if part is None else entry[name][part] for entry in result["sizes"]]
            shown.add_row(label, *(_share(one) for one in found))
    first = [entry["general, in force"]["divergence"] for entry in result["sizes"]]
    shown.add_row("Delta in force, general questions: divergence, nats a token", *(f"{one:.2f}" for one in first))
    for label, name, form in (
        ("blocks", "blocks", "{:d}"),
        ("steps", "steps", "{:d}"),
        ("tokens trained on", "tokens", "{:,d}"),
        ("seconds of writing", "seconds", "{:.1f}"),
        ("|Delta|/|W|", "delta_ratio", "{:.3f}"),
        ("loss at the end", "loss", "{:.3f}"),
    ):
        values = [entry[name] for entry in result["sizes"]]
        shown.add_row(label, *("-" if value is None else form.format(value) for value in values))
    return shown


def _share(one: dict[str, Any]) -> str:
    ends = "" if one["low"] is None else f" [{100 * one['low']:.0f}, {100 * one['high']:.0f}]"
    return f"{100 * one['mean']:.1f}{ends}"
