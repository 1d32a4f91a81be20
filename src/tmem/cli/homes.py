"""What is done with a whole home: ``tmem users``, ``doctor``, ``backup``, ``restore``, ``migrate``, ``absorb``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tmem.cli.common import JsonOption, MemoryModelOption, Weights, WeightsOption, load_memory_model, print_json
from tmem.cli.pairs import print_plain
from tmem.errors import UsageError

HomeOption = Annotated[
    str, typer.Option("--home", envvar="TMEM_HOME", help="Where memories are kept.", rich_help_panel="scope")
]
HOME = "~/.tmem"


def existing(home: str) -> Path:
    """The folder of a home that is there; a command that only looks does not make one."""
    folder = Path(home).expanduser()
    if not (folder / "tmem.db").exists():
        raise UsageError(f"{folder}: no memories are kept there (it has no tmem.db); give another --home")
    return folder


def like(home: Any, name: str) -> str:
    """Names of the home that are much like this one, "" if there are none."""
    return " or ".join(get_close_matches(name, home.scopes().values(), n=3, cutoff=0.7))


def users(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Whose memories there are."""
    from tmem.store.ledger.queries import NAMES

    with looked_at(home) as there:
        rows = there.users()
    if as_json:
        print_json({"users": rows})
        return
    for row in rows:
        names = ", ".join(f"{name.removesuffix('_id')} {row[name]}" for name in NAMES if row[name])
        print_plain(f"{names}: {row['pairs']} pairs, since {row['created'][:10]}")
    if not rows:
        print_plain("nobody's yet")


@contextmanager
def looked_at(home: str) -> Iterator[Any]:
    """A home of which nothing is asked but what its ledger says."""
    from tmem.store.home import Home
    from tmem.store.weights.states import Later

    def none() -> Any:
        raise AssertionError("looking needs no model")

    there = Home(existing(home), Later(none))
    try:
        yield there
    finally:
        there.close()


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Make anew what the ledger can make anew.")] = False,
    home: HomeOption = HOME,
    model: MemoryModelOption = None,
    weights: WeightsOption = Weights.auto,
    as_json: JsonOption = False,
) -> None:
    """Look a whole home over: database, ledgers, weights, leftovers."""
    from dataclasses import asdict

    from tmem import Memory

    with Memory(load_memory_model(model, weights), existing(home)) as memory:
        found = memory.doctor(fix=fix)
    if as_json:
        print_json({"sound": all(one.fixed for one in found), "findings": [asdict(one) for one in found]})
    else:
        for one in found:
            whose = f"{one.scope}: " if one.scope else ""
            print_plain(f"{whose}{one.problem} ({one.remedy})")
        many = f"{len(found)} finding{'s' if len(found) > 1 else ''}"
        print_plain(many if found else "everything is sound")
    if not all(one.fixed for one in found):
        raise typer.Exit(1)


def backup(
    target: Annotated[Path, typer.Argument(help="A folder that is new or empty.")],
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Copy a whole home, also while it is in use. tmem restore makes it the home again."""
    from tmem.store.care.backup import backup as copy

    files = copy(existing(home), target)
    if as_json:
        print_json({"folder": str(target), "files": files})
    else:
        print_plain(f"{target}: {files} files of weights; what is forgotten later is still in it")


def restore(
    source: Annotated[Path, typer.Argument(help="A folder that tmem backup made.")],
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Make a backup the home again; what is there now is kept beside it under another name."""
    from tmem.store.care.backup import restore as put_back

    before = put_back(source, Path(home).expanduser())
    if as_json:
        print_json({"home": str(Path(home).expanduser()), "before": None if before is None else str(before)})
    else:
        kept = "" if before is None else f"; what was there is in {before}: remove it when you do not need it"
        print_plain(f"{home} is {source} again{kept}")


def migrate(
    to: Annotated[
        str,
        typer.Argument(
            help="The ledger: postgresql://user@host/database, or sqlite: the home's own file. "
            "The weights: s3://bucket/folder or what else fsspec knows, or folder: the home's own."
        ),
    ],
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Move the ledger of a home, which may be a new one, into Postgres or its weights into storage, or back."""
    from tmem.store.care.migrate import migrate as move

    moved = move(Path(home).expanduser(), to)
    if as_json:
        print_json({"home": str(Path(home).expanduser()), "to": to, **moved})
    elif "files" in moved:
        print_plain(f"the weights of {home} are in {to} now: {moved['files']} files, read back and compared")
    else:
        count = f"{moved['rows']['scopes']} memories with {moved['rows']['pairs']} pairs"
        print_plain(f"the ledger of {home} is in {to} now: {count}, read back and compared")


def absorb(
    processes: Annotated[int, typer.Option(min=1, help="How many write at once, a core and a model each.")] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="On this Ray cluster (auto: the one here), not only here.")
    ] = None,
    home: HomeOption = HOME,
    model: MemoryModelOption = None,
    weights: WeightsOption = Weights.auto,
    as_json: JsonOption = False,
) -> None:
    """Write what was told and is not yet written, of everybody; it may run several times at once."""
    from tmem import Memory
    from tmem.store.writers import on_processes, on_ray

    folder, count, failed = existing(home), 0, list[tuple[str, str]]()
    open_memory = partial(Memory, partial(load_memory_model, model, weights), folder)
    with ExitStack() as ends:
        if ray is not None:
            found = on_ray(open_memory, folder, processes, ray)
        elif processes > 1:
            found = on_processes(open_memory, processes)
        else:
            found = ends.enter_context(open_memory()).absorb_all()
        for name, reason in found:
            count += reason is None
            if reason is not None:
                failed.append((name, reason))
    if as_json:
        print_json({"written": count, "failed": [{"memory": name, "reason": reason} for name, reason in failed]})
    else:
        for name, reason in failed:
            print_plain(f"{name}: {reason}")
        print_plain(f"{count} memories were written" if count or failed else "nothing waited to be written")
    if failed:
        raise typer.Exit(1)
