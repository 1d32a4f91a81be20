"""``tmem score``: predictions made anywhere, by any of the scorers; or the answers of a run, by a judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tmem.evaluation.predictions import score_file


def score_predictions(path: Path, scorer: str) -> dict[str, Any]:
    """See :func:`score_file`."""
    return score_file(path, scorer)


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
