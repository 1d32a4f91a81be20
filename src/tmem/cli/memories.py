"""Memories that last: ``tmem add``, ``ask``, ``chat``, ``forget`` and the others that work on a home."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tmem.cli.chat import chat
from tmem.cli.common import (
    EngineOption,
    JsonOption,
    MemoryModelOption,
    Weights,
    WeightsOption,
    err,
    load_memory_model,
    print_json,
)
from tmem.cli.homes import HOME, HomeOption, backup, doctor, existing, like, restore, users
from tmem.cli.pairs import print_plain, show_forgetting, show_pairs, show_receipt, show_versions, show_why, whole_id
from tmem.errors import UsageError
from tmem.files import read_text

UserOption = Annotated[str | None, typer.Option("--user", "-u", help="Whose memory.", rich_help_panel="scope")]
AgentOption = Annotated[str | None, typer.Option("--agent", help="Of which agent.", rich_help_panel="scope")]
RunOption = Annotated[str | None, typer.Option("--run", help="Of which run.", rich_help_panel="scope")]
IdsArgument = Annotated[list[str], typer.Argument(help="Ids of pairs, or how they begin.")]
NOTHING_YET = "nothing was told to this memory yet"
Opener = Callable[[], AbstractContextManager[Any]]  # the memory that the options name


class Form(StrEnum):
    ledger = "ledger"
    peft = "peft"
    gguf = "gguf"


class WhenUnknown(StrEnum):
    refuse = "refuse"
    base = "base"


class Forgetting(StrEnum):
    replay = "replay"
    reextract = "reextract"


@contextmanager
def opened(
    looks: bool,
    user: UserOption = None,
    agent: AgentOption = None,
    run: RunOption = None,
    home: HomeOption = HOME,
    model: MemoryModelOption = None,
    engine: EngineOption = None,
    weights: WeightsOption = Weights.auto,
) -> Iterator[Any]:
    """One scope of a home, which has to be there if a command only ``looks``; the model is loaded when first needed."""
    from tmem import Memory
    from tmem.errors import ScopeRequired

    if not any((user, agent, run)):
        raise ScopeRequired("whose memory? give --user, --agent or --run")
    if looks:
        existing(home)
    with Memory(partial(load_memory_model, model, weights), home, engine=engine) as memory:
        scope = memory.scope(user, agent, run)
        if looks and not scope.known:
            raise UsageError(nothing_yet(scope))
        yield scope


def nothing_yet(memory: Any) -> str:
    """What to say of a memory that was told nothing: whose it may have been meant to be."""
    meant = like(memory.home, memory.home.name(memory.id))
    return f"{NOTHING_YET}{f': did you mean {meant}?' if meant else ''} (tmem users lists whose there are)"


def scoped(command: Callable[..., None], looks: bool) -> Callable[..., None]:
    """A command whose first argument opens a memory, as one with the options that say which."""
    whose = dict(list(inspect.signature(opened, eval_str=True).parameters.items())[1:])
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def run(**options: Any) -> None:
        command(partial(opened, looks, **{name: options.pop(name) for name in whose}), **options)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature([*own, *whose.values()])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *whose.values())}
    return run


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
    text = sys.stdin.read() if text == "-" else read_text(file) if file is not None else text
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
        with opened(False, user, agent, run, home, model, weights=weights) as memory:
            show_receipt(memory.rebuild(adopt=adopt), as_json)
        return
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


COMMANDS: dict[str, Callable[..., None]] = {
    "add": add,
    "ask": ask,
    "chat": chat,
    "list": list_pairs,
    "search": search,
    "get": get,
    "update": update,
    "forget": forget,
    "erase": erase,
    "history": history,
    "versions": versions,
    "diff": diff,
    "rollback": rollback,
    "tag": tag,
    "verify": verify,
    "why": why,
    "export": export,
    "import": import_,
    "stats": stats,
}
OF_HOMES: dict[str, Callable[..., None]] = {
    "rebuild": rebuild,
    "users": users,
    "doctor": doctor,
    "backup": backup,
    "restore": restore,
}
# These make no memory, and tell whose was perhaps meant where there is none.
LOOKING = COMMANDS.keys() - {"add", "ask", "chat", "import"}
EXAMPLES = {
    "add": (
        'tmem add -u ana "I live in Lyon."',
        'tmem add -u ana -q "Where do I live?" -a Lyon',
        "tmem add -u ana --file notes.md --when 2023-05-08",
        "cat notes.md | tmem add -u ana -",
    ),
    "ask": ('tmem ask -u ana "Where do I live?"', 'tmem ask -u ana "Where do I live?" --version 3'),
    "chat": ("tmem chat -u ana", "echo 'I live in Lyon.' | tmem chat -u ana --json"),
    "list": ("tmem list -u ana", "tmem list -u ana --all --json"),
    "search": ('tmem search -u ana "Lyon" --top-k 3',),
    "get": ("tmem get -u ana 3f2a",),
    "update": ("tmem update -u ana 3f2a Oslo",),
    "forget": ("tmem forget -u ana 3f2a 9c01",),
    "erase": ("tmem erase -u ana --yes",),
    "history": ("tmem history -u ana 3f2a",),
    "versions": ("tmem versions -u ana",),
    "diff": ("tmem diff -u ana 3 4",),
    "rollback": ("tmem rollback -u ana 3",),
    "tag": ("tmem tag -u ana 3 before-the-move",),
    "verify": ("tmem verify -u ana --deep",),
    "why": ('tmem why -u ana "Where do I live?"',),
    "export": ("tmem export -u ana ana.jsonl", "tmem export -u ana adapter --format peft"),
    "import": ("tmem import -u ana ana.jsonl",),
    "stats": ("tmem stats -u ana --json",),
    "rebuild": ("tmem rebuild -u ana", "tmem rebuild --all"),
    "users": ("tmem users --home ~/.tmem",),
    "doctor": ("tmem doctor --fix",),
    "backup": ("tmem backup ~/tmem-2026-11-28",),
    "restore": ("tmem restore ~/tmem-2026-11-28",),
}


def register(app: typer.Typer, word: str | None) -> None:
    """Put these commands into the application; if ``word`` is one of them, it alone."""
    for name, command in (COMMANDS | OF_HOMES).items():
        if word == name or word not in EXAMPLES:
            whole = scoped(command, name in LOOKING) if name in COMMANDS else command
            epilog = "\n\n".join(("Examples:", *EXAMPLES[name]))
            app.command(name, rich_help_panel="memories that last", epilog=epilog)(whole)
