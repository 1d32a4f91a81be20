"""Showing pairs and receipts, and finding a pair by how its id begins."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from tmem.cli.common import out, print_json
from tmem.errors import UsageError

SHORTEST_ID = 4  # characters; an empty one, of a variable that is not set, would be the beginning of every id


def whole_id(memory: Any, start: str) -> str:
    """The id that begins like this. Raises :class:`UsageError` if several do, or if it is too short to name one."""
    if len(start) < SHORTEST_ID:
        raise UsageError(f"the id {start!r} is too short: give at least {SHORTEST_ID} characters of it")
    found = [row["id"] for row in memory.get_all(status=None) if row["id"].startswith(start)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} pairs begin with {start}: give more of the id")
    return found[0] if found else start


def show_pairs(rows: list[dict[str, Any]]) -> None:
    """Pairs with the beginning of their ids."""
    table = Table()
    for column in ("id", "question", "answer", "status"):
        table.add_column(column)
    for row in rows:
        table.add_row(row["id"][:8], escape(row["question"] or "-"), escape(row["answer"] or "-"), row["status"])
    out.print(table)


def show_receipt(receipt: Any, as_json: bool) -> None:
    """What a call did."""
    if as_json:
        print_json(receipt.record())
        return
    lines = [
        f"{row['status']} {row['id'][:8]}  {row['question']} {row['answer']}"
        + (" (takes the place of an earlier answer)" if row["supersedes"] else "")
        + (" (not sure to be recalled)" if row.get("recalled") is False else "")
        for row in receipt.pairs
    ]
    lines += [f"rejected, {drop['reason']}: {drop['text'][:200]}" for drop in receipt.rejected]
    lines += [receipt.reason] if receipt.reason else []
    for line in lines:
        print_plain(line)
    tokens = f", {receipt.tokens} tokens" if receipt.tokens else ""
    print_plain(f"version {receipt.version}, {receipt.milliseconds:.0f} ms{tokens}")


def show_forgetting(details: dict[str, Any]) -> None:
    """What a forgetting did, and what it did not."""
    print_plain(f"trained again: {details['replayed']} writes; weights {details['weights'][:16]}, as if never told.")
    if details["mode"] == "replay":
        print_plain("What was told later was extracted by a model that knew it; --mode reextract reads that again.")
        return
    print_plain(
        f"texts read again: {details['texts']}; pairs: {details['same']} the same, {details['new']} new, "
        f"{details['lost']} no longer found."
    )
    if details["aside"]:
        print_plain(f"{details['aside']} later pairs that were not in force are forgotten, too.")
    if details["unread"]:
        print_plain(f"The texts of {details['unread']} later pairs were removed before: those stay as they were.")


def print_plain(text: str, style: str | None = None) -> None:
    """A line as it is: a pipe gets it whole."""
    out.print(text, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)


def show_versions(rows: list[dict[str, Any]]) -> None:
    """Versions, oldest first."""
    table = Table()
    for column in ("version", "kind", "tag", "made", "pairs", "|Δ|/|W|"):
        table.add_column(column)
    for row in rows:
        ratio = row["account"].get("delta_ratio")
        pairs, size = str(row["account"].get("pairs", "")), "" if ratio is None else f"{ratio:.3f}"
        table.add_row(row["id"], row["kind"], escape(row["tag"] or ""), row["created"][:19], pairs, size)
    out.print(table)


def show_why(rows: list[dict[str, Any]]) -> None:
    """Which pairs moved an answer."""
    table = Table(caption="log-probability per token of the answer", caption_justify="left")
    for column in ("id", "pair", "with", "without", "moved"):
        table.add_column(column)
    for row in rows:
        numbers = (f"{row[key]:+.2f}" for key in ("with", "without", "moved"))
        table.add_row(row["id"][:8], escape(f"{row['question']} {row['answer']}"), *numbers)
    out.print(table)
