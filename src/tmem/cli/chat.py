"""``tmem chat``: talk to a memory; what was just learned is shown, and commands begin with a slash."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer

from tmem.cli.common import JsonOption, err, print_json, typed
from tmem.cli.pairs import print_plain, show_pairs, show_receipt, show_versions, show_why, whole_id
from tmem.dates import now
from tmem.errors import TmemError, UsageError

HELP = "/memories  /why QUESTION  /forget ID  /versions  /rollback VERSION  /help  /quit"


def chat(
    open_memory: Callable[[], AbstractContextManager[Any]],
    name: Annotated[str | None, typer.Option(help="Who speaks.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Talk to it: what you tell is written into the weights before the answer. Reads lines, also from a pipe."""
    turns: list[dict[str, str]] = []
    with open_memory() as memory:
        if err.is_terminal and sys.stdin.isatty():
            err.print(f"[dim]{HELP}[/dim]")
        for line in lines():
            try:
                if line.startswith("/"):
                    word = line.split()[0]
                    if word in ("/quit", "/exit"):
                        return
                    command(memory, line)
                    if word in ("/forget", "/rollback"):
                        turns.clear()  # what is gone is not read again as what was said before
                    continue
                turns.append({"role": "user", "content": line})
                reply = memory.chat(turns, name=name, timestamp=now())
            except TmemError as error:  # one wrong line does not end a conversation
                print(f"tmem: {error}", file=sys.stderr)
                turns = turns[:-1] if turns and turns[-1]["role"] == "user" else turns
                continue
            turns.append({"role": "assistant", "content": reply.text})
            show(reply, as_json)


def lines() -> Iterator[str]:
    """Lines that say something, until the end of the input."""
    terminal = sys.stdin.isatty()
    while True:
        if terminal:
            print("> ", end="", file=sys.stderr, flush=True)
        line = typed(sys.stdin.readline)
        if not line:
            return
        if line.strip():
            yield line.strip()


def command(memory: Any, line: str) -> None:
    """Do what a line that begins with a slash asks for."""
    word, _, rest = line.partition(" ")
    rest = rest.strip()
    if word in ("/why", "/forget", "/rollback") and not rest:
        raise UsageError(f"{word} needs something after it: {HELP}")
    if word == "/memories":
        show_pairs(memory.get_all())
    elif word == "/versions":
        show_versions(memory.versions())
    elif word == "/why":
        show_why(memory.why(rest))
    elif word == "/forget":
        receipt = memory.forget([whole_id(memory, part) for part in rest.split()])
        print_plain(f"forgotten; version {receipt.version}, as if never told")
    elif word == "/rollback":
        show_receipt(memory.rollback(rest), False)
    elif word == "/help":
        print_plain(HELP)
    else:
        raise UsageError(f"there is no {word}: {HELP}")


def show(reply: Any, as_json: bool) -> None:
    """What was learned, dimmed, then the answer."""
    learned = reply.learned
    if as_json:
        print_json({"text": reply.text, "version": reply.version, "learned": learned and learned.record()})
        return
    for row in learned.pairs if learned else []:
        kind = "corrected" if row["supersedes"] else "learned" if row["status"] == "active" else row["status"]
        print_plain(f"  {kind} {row['id'][:8]}: {row['question']} {row['answer']}", "dim")
    if reply.text:
        print_plain(reply.text)
    elif learned and not learned.pairs:
        print_plain("  nothing was learned", "dim")
