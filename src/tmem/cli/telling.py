"""What is told, asked and taken back: ``tmem add``, ``ask``, ``search``, ``update``, ``forget`` and their like."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tmem.cli.common import (
    JsonOption,
    err,
    print_json,
    typed,
)
from tmem.cli.pairs import print_plain, show_forgetting, show_pairs, show_receipt, whole_id
from tmem.cli.scopes import Opener, nothing_yet
from tmem.errors import UsageError
from tmem.files import read_text

IdsArgument = Annotated[list[str], typer.Argument(help="Ids of pairs, or how they begin.")]


class WhenUnknown(StrEnum):
    refuse = "refuse"
    base = "base"


class Forgetting(StrEnum):
    replay = "replay"
    reextract = "reextract"


def add(
    open_memory: Opener,
    text: Annotated[str | None, typer.Argument(help="What was said; - reads standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="What was said, as a text file.")] = None,
    question: Annotated[str | None, typer.Option("--question", "-q", help="Write this pair, as it is.")] = None,
    answer: Annotated[str | None, typer.Option("--answer", "-a", help="Its answer.")] = None,
    name: Annotated[str | None, typer.Option(help="Who said it.")] = None,
    when: Annotated[
        str | None, typer.Option(help="When it was said: 2023-05-08, 2023-05-08T13:56, 8 May 2023.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell something: it is extracted and written into the weights at once."""
    if (question is None) != (answer is None) or [text, file, question].count(None) != 2:
        raise UsageError("give a text, --file, or --question with --answer")
    text = typed(sys.stdin.read) if text == "-" else read_text(file) if file is not None else text
    if question is None and not (text or "").strip():
        raise UsageError("there is nothing in it to tell: give a text, --file, or --question with --answer")
    message: Any = {"role": "user", "content": text, "name": name} if name else text or ""
    pairs = [] if question is None else [(question, answer)]
    with open_memory() as memory, err.status("reading") as status:
        receipt = memory.add(
            message,
            pairs=pairs,
            timestamp=when,
            progress=lambda done, total: status.update(f"reading part {done + 1} of {total}"),
        )
    show_receipt(receipt, as_json)


def ask(
    open_memory: Opener,
    question: Annotated[str, typer.Argument(help="What to ask.")],
    version: Annotated[str | None, typer.Option(help="Ask an earlier version (number, id or tag).")] = None,
    show: Annotated[int, typer.Option(min=0, help="Show the model this many fitting pairs.")] = 0,
    unknown: Annotated[
        WhenUnknown, typer.Option(help="What was never told: refuse it, or ask the base model.")
    ] = WhenUnknown.refuse,
    as_json: JsonOption = False,
) -> None:
    """Ask the memory."""
    with open_memory() as memory:
        found = memory.ask(question, version=version, show_pairs=show, unknown=unknown.value)
        note = "" if memory.stats()["pairs"] else nothing_yet(memory)
    if note:
        print(f"tmem: {note}", file=sys.stderr)
    if as_json:
        told = {"source": found.source, "pairs": found.pairs, "shown": found.shown, "ms": found.milliseconds}
        print_json({"text": found.text, "version": found.version, **told})
    else:
        print_plain(found.text)


def list_pairs(
    open_memory: Opener,
    everything: Annotated[bool, typer.Option("--all", help="Also superseded, quarantined and forgotten ones.")] = False,
    as_json: JsonOption = False,
) -> None:
    """All pairs that were written."""
    with open_memory() as memory:
        rows = memory.get_all(status=None if everything else "active")
    if as_json:
        print_json({"pairs": rows})
    else:
        show_pairs(rows)


def search(
    open_memory: Opener,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    top_k: Annotated[int, typer.Option(min=1, help="So many at most.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """The pairs whose words fit best; loads no model."""
    with open_memory() as memory:
        rows = memory.search(query, top_k=top_k)
    if as_json:
        print_json({"pairs": rows})
    else:
        show_pairs(rows)


def get(
    open_memory: Opener,
    pair: Annotated[str, typer.Argument(help="Id of a pair, or how it begins.")],
    as_json: JsonOption = False,
) -> None:
    """One pair, with all that is known of it."""
    with open_memory() as memory:
        row = memory.get(whole_id(memory, pair))
    if as_json:
        print_json(row)
        return
    for key, value in row.items():
        print_plain(f"{key}: {'-' if value is None else value}")


def update(
    open_memory: Opener,
    pair: Annotated[str, typer.Argument(help="Id of a pair, or how it begins.")],
    answer: Annotated[str, typer.Argument(help="The answer that holds now.")],
    as_json: JsonOption = False,
) -> None:
    """Correct a pair."""
    with open_memory() as memory:
        show_receipt(memory.update(whole_id(memory, pair), answer), as_json)


def forget(
    open_memory: Opener,
    pairs: IdsArgument,
    mode: Annotated[
        Forgetting, typer.Option(help="reextract: also read what was told later again, without them.")
    ] = Forgetting.replay,
    as_json: JsonOption = False,
) -> None:
    """Forget pairs: weights as if they had never been told, and no byte of them left."""
    with open_memory() as memory:
        receipt = memory.forget([whole_id(memory, pair) for pair in pairs], mode=mode.value)
    show_receipt(receipt, as_json)
    if not as_json:
        show_forgetting(receipt.details)


def history(
    open_memory: Opener,
    pair: Annotated[str, typer.Argument(help="Id of a pair, or how it begins.")],
    as_json: JsonOption = False,
) -> None:
    """A pair and those whose place it took."""
    with open_memory() as memory:
        rows = memory.history(whole_id(memory, pair))
    if as_json:
        print_json({"pairs": rows})
    else:
        show_pairs(rows)


def stats(
    open_memory: Opener,
    as_json: JsonOption = False,
) -> None:
    """Pairs by status, versions, size."""
    with open_memory() as memory:
        found = memory.stats()
    if as_json:
        print_json(found)
        return
    pairs = ", ".join(f"{count} {status}" for status, count in found["pairs"].items()) or "none"
    size = found["bytes"] / 1e6
    print_plain(f"pairs: {pairs}; versions: {found['versions']}; weights on disk: {size:.2f} MB")


def erase(
    open_memory: Opener,
    sure: Annotated[bool, typer.Option("--yes", help="It cannot be taken back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a memory whole: pairs, texts, weights, and the name that it was kept under."""
    if not sure:
        raise UsageError("erasing cannot be taken back: add --yes (tmem backup makes a copy first)")
    with open_memory() as memory:
        memory.erase()
    if as_json:
        print_json({"erased": True})
    else:
        print_plain("nothing of it is left in this home; backups and exports are as they were")
