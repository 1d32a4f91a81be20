"""Memories that last: all commands that work on a home, with an example of each."""

from __future__ import annotations

from collections.abc import Callable

import typer

from tmem.cli.chat import chat
from tmem.cli.homes import backup, doctor, restore, users
from tmem.cli.scopes import scoped
from tmem.cli.telling import add, ask, erase, forget, get, history, list_pairs, search, stats, update
from tmem.cli.versions import diff, export, import_, rebuild, rollback, tag, verify, versions, why

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
