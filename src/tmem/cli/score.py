"""``tmem score``: predictions made anywhere, by any of the scorers; or the answers of a run, by a judge."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show_scores(result: dict[str, Any], console: Console) -> None:
    """A table by category; sums over sub-questions where MEM1 reports them."""
    table = Table(title=f"scored by {escape(result['scorer'])}, 0 to 100", title_justify="left")
    sums = ("f1_sum", "em_sum") if "f1_sum" in result else ()
    for column in ("category", "n", "F1", "EM", *(name.replace("_", " ") for name in sums)):
        table.add_column(column, justify="left" if column == "category" else "right")
    rows = [*result["by_category"].items(), ("all", result)]
    for kind, row in rows:
        numbers = (f"{row['f1']:.2f}", f"{row['em']:.2f}", *(f"{row[name]:.4f}" for name in sums))
        table.add_row(escape(kind), str(row["n"]), *numbers, end_section=len(rows) > 1 and kind == rows[-2][0])
    console.print(table)


def show_judgements(result: dict[str, Any], console: Console) -> None:
    """Accuracy by memory, and how far the judge is to be trusted."""
    title = f"{result['bench']}, judged by {result['judge_model']} (prompts {result['template_sha256'][:12]})"
    table = Table(title=escape(title), title_justify="left")
    for column in ("memory", "n", "accuracy", "failed calls", "unreadable"):
        table.add_column(column, justify="left" if column == "memory" else "right")
    for memory, row in result["memories"].items():
        table.add_row(memory, str(row["n"]), f"{row['accuracy']:.2f}", str(row["failed"]), str(row["unreadable"]))
    console.print(table)
    rates = result["calibration"]
    console.print(
        f"on known answers it accepts {rates['false_accept']:.0%} of the wrong ones ({rates['n_wrong']}) and rejects "
        f"{rates['false_reject']:.0%} of the right ones ({rates['n_right']})"
    )
