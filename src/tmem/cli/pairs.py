"""Showing pairs and receipts, and finding a pair by how its id begins."""

from __future__ import annotations

import sys
from typing import Any

import typer

from tmem.cli.common import out, print_json, show_table
from tmem.errors import NotFound, UsageError

SHORTEST_ID = 4  # characters; an empty one, of a variable that is not set, would be the beginning of every id


def whole_id(memory: Any, start: str) -> str:
    """The id that begins like this. Raises :class:`UsageError` if none or several do, or if it is too short."""
    if len(start) < SHORTEST_ID:
        raise UsageError(f"the id {start!r} is too short: give at least {SHORTEST_ID} characters of it")
    found = [row["id"] for row in memory.get_all(status=None) if row["id"].startswith(start)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} pairs begin with {start}: give more of the id")
    if not found:
        raise NotFound(f"there is no pair {start} in this memory")
    return str(found[0])


def show_pairs(rows: list[dict[str, Any]]) -> None:
    """Pairs with the beginning of their ids."""
    cells = [(row["id"][:8], row["question"] or "-", row["answer"] or "-", row["status"]) for row in rows]
    show_table(out, ("id", "question", "answer", "status"), cells)


def show_receipt(receipt: Any, as_json: bool) -> None:
    """What a call did; exit code 1, and a line beside JSON too, if it was not put in force."""
    if as_json:
        print_json(receipt.record())
    else:
        _show_lines(receipt)
    refused = [row["id"][:8] for row in receipt.pairs if row["status"] == "quarantined"]
    if refused:
        reason, ids = receipt.reason.removeprefix("quarantined: "), " ".join(refused)
        print(
            f"tmem: {len(refused)} pairs are not in force, the write was refused ({reason}); nothing answers from them "
            f"(tmem list --all): tell them again in fewer or other words, or tmem forget {ids}",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _show_lines(receipt: Any) -> None:
    lines = [
        f"{row['status']} {row['id'][:8]}  {row['question']} {row['answer']}"
        + (f" (takes the place of an earlier answer, {row['supersedes'][:8]})" if row["supersedes"] else "")
        + (" (not sure to be recalled)" if row.get("recalled") is False else "")
        for row in receipt.pairs
    ]
    lines += [f"rejected, {drop['reason']}: {drop['text'][:200]}" for drop in receipt.rejected]
    lines += [receipt.reason] if receipt.reason else []
    for line in lines:
        print_plain(line)
    tokens = f", {receipt.tokens} tokens" if receipt.tokens else ""
    version = f"version {receipt.version}" if receipt.version else "no version yet"
    print_plain(f"{version}, {receipt.milliseconds:.0f} ms{tokens}")


def show_forgetting(details: dict[str, Any]) -> None:
    """What a forgetting did, and what it did not."""
    print_plain(f"trained again: {details['replayed']} writes; weights {details['weights'][:16]}, as if never told.")
    if details["followers"]:
        print_plain(
            f"What only followed a correction went with it: {' '.join(one[:8] for one in details['followers'])}"
        )
    if details["restored"]:
        print_plain(f"What they had corrected holds again: {' '.join(one[:8] for one in details['restored'])}")
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
        print_plain(f"The texts of {details['unread']} later pairs are removed: those stay as they were.")


def print_plain(text: str, style: str | None = None) -> None:
    """A line as it is: a pipe gets it whole."""
    out.print(text, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)


def show_versions(rows: list[dict[str, Any]]) -> None:
    """Versions, oldest first."""
    cells = []
    for row in rows:
        ratio = row["account"].get("delta_ratio")
        pairs, size = str(row["account"].get("pairs", "")), "" if ratio is None else f"{ratio:.3f}"
        cells.append((row["id"], row["kind"], row["tag"] or "", row["created"][:19], pairs, size))
    show_table(out, ("version", "kind", "tag", "made", "pairs", "|Δ|/|W|"), cells)


def show_why(rows: list[dict[str, Any]]) -> None:
    """Which pairs moved an answer."""
    keys = ("with", "without", "moved")
    cells = [
        (row["id"][:8], f"{row['question']} {row['answer']}", *(f"{row[key]:+.2f}" for key in keys)) for row in rows
    ]
    show_table(out, ("id", "pair", *keys), cells)
    print_plain("log-probability per token of the answer")
