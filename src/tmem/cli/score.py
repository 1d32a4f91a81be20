"""``tmem score``: predictions made anywhere, by any of the scorers; or the answers of a run, by a judge."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

MEANS = {
    "accuracy": "accuracy",
    "official": "as the benchmark reads it",
    "task_average": "mean of types",
    "abstention": "unanswerable",
    "without_abstention": "answerable",
}


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
    means = [key for key in MEANS if any(key in row for row in result["memories"].values())]
    columns = ("memory", "n", *(MEANS[key] for key in means), "failed calls", "unreadable")
    for column in columns:
        table.add_column(column, justify="left" if column == "memory" else "right")
    for memory, row in result["memories"].items():
        numbers = ("-" if row[key] is None else f"{row[key]:.2f}" for key in means)
        table.add_row(memory, str(row["n"]), *numbers, str(row["failed"]), str(row["unreadable"]))
    console.print(table)
    for memory, row in result["memories"].items():
        kinds = ", ".join(f"{kind} {value:.2f}" for kind, value in row["by_category"].items())
        console.print(f"{memory} by category: {escape(kinds)}", highlight=False)
    rates = result["calibration"]
    if rates["failed"]:
        cases = rates["n_wrong"] + rates["n_right"]
        console.print(f"not calibrated: of {cases} known answers {rates['failed']} got no verdict")
    else:
        console.print(
            f"on known answers it accepts {rates['false_accept']:.0%} of the wrong ones ({rates['n_wrong']}) and "
            f"rejects {rates['false_reject']:.0%} of the right ones ({rates['n_right']})"
        )
    for text in result["warnings"]:
        console.print(f"warning: {escape(text)}", highlight=False)
