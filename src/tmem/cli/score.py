"""``tmem score``: predictions made anywhere, by any of the scorers; or the answers of a run, by a judge."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from tmem.cli.common import show_table

MEANS = {
    "accuracy": "accuracy",
    "official": "as the benchmark reads it",
    "task_average": "mean of types",
    "abstention": "unanswerable",
    "without_abstention": "answerable",
}


def show_scores(result: dict[str, Any], console: Console) -> None:
    """A table by category; sums over sub-questions where MEM1 reports them."""
    sums = ("f1_sum", "em_sum") if "f1_sum" in result else ()
    rows = []
    for kind, row in [*result["by_category"].items(), ("all", result)]:
        numbers = (f"{row['f1']:.2f}", f"{row['em']:.2f}", *(f"{row[name]:.4f}" for name in sums))
        rows.append((kind, str(row["n"]), *numbers))
    columns = ("category", "n", "F1", "EM", *(name.replace("_", " ") for name in sums))
    show_table(console, columns, rows, f"scored by {result['scorer']}, 0 to 100", numbers=True)


def show_judgements(result: dict[str, Any], console: Console) -> None:
    """Accuracy by memory, and how far the judge is to be trusted."""
    title = f"{result['bench']}, judged by {result['judge_model']} (prompts {result['template_sha256'][:12]})"
    memories = result["memories"].values()
    means = [key for key in MEANS if any(key in row for row in memories)]
    rows = [("n", *(str(row["n"]) for row in memories))]
    for key in means:
        rows.append((MEANS[key], *("-" if row[key] is None else f"{row[key]:.2f}" for row in memories)))
    for name, key in (("failed calls", "failed"), ("unreadable", "unreadable")):
        rows.append((name, *(str(row[key]) for row in memories)))
    show_table(console, ("memory", *result["memories"]), rows, title, numbers=True)
    for memory, row in result["memories"].items():
        kinds = ", ".join(f"{kind} {value:.2f}" for kind, value in row["by_category"].items())
        console.print(escape(f"{memory} by category: {kinds}"), highlight=False, soft_wrap=True)
    rates = result["calibration"]
    if rates["failed"]:
        cases = rates["n_wrong"] + rates["n_right"]
        console.print(f"not calibrated: of {cases} known answers {rates['failed']} got no verdict", soft_wrap=True)
    else:
        console.print(
            f"on known answers it accepts {rates['false_accept']:.0%} of the wrong ones ({rates['n_wrong']}) and "
            f"rejects {rates['false_reject']:.0%} of the right ones ({rates['n_right']})",
            soft_wrap=True,
        )
    for text in result["warnings"]:
        console.print(f"warning: {escape(text)}", highlight=False, soft_wrap=True)
