"""Versions of a memory: ``tmem versions``, ``diff``, ``rollback``, ``tag``, ``verify``, ``why``, ``export`` ..."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tmem.cli.common import (
    JsonOption,
    MemoryModelOption,
    Weights,
    WeightsOption,
    err,
    load_memory_model,
    print_json,
)
from tmem.cli.homes import HOME, HomeOption, existing
from tmem.cli.pairs import print_plain, show_receipt, show_versions, show_why
from tmem.cli.scopes import NOTHING_YET, AgentOption, Opener, RunOption, UserOption, opened
from tmem.errors import UsageError


class Form(StrEnum):
    ledger = "ledger"
    peft = "peft"
    gguf = "gguf"


def versions(
    open_memory: Opener,
    as_json: JsonOption = False,
) -> None:
    """All versions of the weights."""
    with open_memory() as memory:
        rows = memory.versions()
    if as_json:
        print_json({"versions": rows})
        return
    show_versions(rows)


def diff(
    open_memory: Opener,
    first: Annotated[str, typer.Argument(help="A version: number, id or tag.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    as_json: JsonOption = False,
) -> None:
    """What one version knows and another does not."""
    with open_memory() as memory:
        changed = memory.diff(first, second)
    if as_json:
        print_json(changed)
        return
    for sign, rows in (("+", changed["added"]), ("-", changed["removed"])):
        for row in rows:
            print_plain(f"{sign} {row['question']} {row['answer']}")


def rollback(
    open_memory: Opener,
    version: Annotated[str, typer.Argument(help="Number, id or tag.")],
    as_json: JsonOption = False,
) -> None:
    """Go back to an earlier version; what was forgotten since stays forgotten."""
    with open_memory() as memory:
        show_receipt(memory.rollback(version), as_json)


def tag(
    open_memory: Opener,
    version: Annotated[str, typer.Argument(help="Number, id or tag.")],
    name: Annotated[str, typer.Argument(help="What to call it.")],
    as_json: JsonOption = False,
) -> None:
    """Name a version; its weights stay on disk."""
    with open_memory() as memory:
        memory.tag(version, name)
        [row] = [row for row in memory.versions() if row["tag"] == name]
    if as_json:
        print_json({"version": row["id"], "tag": name})
    else:
        print_plain(f"{row['id']} is {name}")


def verify(
    open_memory: Opener,
    deep: Annotated[bool, typer.Option("--deep", help="Train anew from the first pair.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that the weights are those that the ledger says."""
    with open_memory() as memory:
        found = memory.verify(deep=deep)
    if as_json:
        print_json(found)
    elif found["version"] is None:
        print_plain(NOTHING_YET)
    else:
        how = "trained anew, bit for bit" if deep else "read from their file"
        if "made_on" in found:
            how = (
                f"made on a processor with {found['made_on']}; trained anew on this one {found['distance']:.1e} of "
                f"their size apart, {found['differ']} of {found['of']} answers differ (tmem rebuild --all)"
            )
        print_plain(f"{found['version']}: weights {found['weights'][:16]}, {how}; {found['steps']} writes")


def rebuild(
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    home: HomeOption = HOME,
    model: MemoryModelOption = None,
    weights: WeightsOption = Weights.auto,
    every: Annotated[
        bool, typer.Option("--all", help="Every memory of the home that another model, recipe or torch made.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Also if it was made with another model, recipe or torch version.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the weights anew from the ledger; --all goes on where it was stopped."""
    if not every:
        with opened(True, user, agent, run, home, model, weights=weights) as memory:
            show_receipt(memory.rebuild(adopt=adopt), as_json)
        return
    if user or agent or run:
        raise UsageError("--all takes every memory of the home: leave out --user, --agent and --run")
    from tmem import Memory

    count = 0
    with (
        Memory(partial(load_memory_model, model, weights), existing(home)) as memories,
        err.status("looking") as status,
    ):
        for name, count, total in memories.rebuild_all():
            status.update(f"{count} of {total} memories written anew: {escape(name)}")
    if as_json:
        print_json({"rebuilt": count})
    else:
        print_plain(f"{count} memories were written anew" if count else "every memory was made with this already")


def why(
    open_memory: Opener,
    question: Annotated[str, typer.Argument(help="What to ask.")],
    answer: Annotated[str | None, typer.Option(help="The answer to explain; default: the one it gives.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Which pairs moved an answer: how likely it is with each of them and trained without it."""
    with open_memory() as memory:
        rows = memory.why(question, answer=answer)
    if as_json:
        print_json({"pairs": rows})
        return
    show_why(rows)


def export(
    open_memory: Opener,
    target: Annotated[Path, typer.Argument(help="A file for the ledger, a folder for adapters.")],
    form: Annotated[
        Form, typer.Option("--format", help="ledger: JSON lines; peft: a LoRA adapter; gguf: one for llama.cpp.")
    ] = Form.ledger,
    version: Annotated[str | None, typer.Option(help="An earlier version (number, id or tag).")] = None,
    base: Annotated[
        str | None, typer.Option(help="With gguf, also the base model: f32, f16, bf16 or q8_0.", metavar="TYPE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take a memory elsewhere. It is personal data there too, and no forgetting reaches it."""
    with open_memory() as memory:
        memory.export(target, format=form.value, version=version, base=base)
    if as_json:
        print_json({"file": str(target), "format": form.value})
    else:
        gate = "" if form is Form.ledger else "; it has no gate, and answers also what it was never told"
        print_plain(f"{target}: keep it as you would keep the text; what is forgotten here stays there{gate}")


def import_(
    open_memory: Opener,
    source: Annotated[Path, typer.Argument(help="A ledger that tmem export wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Take a ledger in, into a memory that holds nothing."""
    with open_memory() as memory:
        show_receipt(memory.import_(source), as_json)
