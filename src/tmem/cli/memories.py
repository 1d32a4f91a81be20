"""Memories that last: all commands that work on a home."""

from __future__ import annotations

from collections.abc import Callable

import typer

from tmem.cli.chat import chat
from tmem.cli.homes import absorb, backup, doctor, migrate, restore, users
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
    "migrate": migrate,
    "absorb": absorb,
}
# These make no memory, and tell whose was perhaps meant where there is none.
LOOKING = COMMANDS.keys() - {"add", "ask", "chat", "import"}


def register(app: typer.Typer, word: str | None) -> None:
    """Put these commands into the application; if ``word`` is one of them, it alone."""
    every = COMMANDS | OF_HOMES
    for name, command in every.items():
        if word == name or word not in every:
            whole = scoped(command, name in LOOKING) if name in COMMANDS else command
            app.command(name, rich_help_panel="memories that last")(whole)
