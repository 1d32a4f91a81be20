"""The memory that a command is about: the options that name it, and opening it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Annotated, Any

import typer

from tmem.cli.common import (
    EngineOption,
    MemoryModelOption,
    Weights,
    WeightsOption,
    load_memory_model,
)
from tmem.cli.homes import HOME, HomeOption, existing, like
from tmem.errors import UsageError

UserOption = Annotated[str | None, typer.Option("--user", "-u", help="Whose memory.", rich_help_panel="scope")]


AgentOption = Annotated[str | None, typer.Option("--agent", help="Of which agent.", rich_help_panel="scope")]


RunOption = Annotated[str | None, typer.Option("--run", help="Of which run.", rich_help_panel="scope")]


NOTHING_YET = "nothing was told to this memory yet"


Opener = Callable[[], AbstractContextManager[Any]]  # the memory that the options name


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
