"""What the commands share: options, consoles, loading a model."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tmem.errors import UsageError, first_line

out = Console()
err = Console(stderr=True)


class RecipeName(StrEnum):
    tmem = "tmem"
    sgd = "sgd"
    paper = "paper"


class People(StrEnum):
    seen = "seen"
    unseen = "unseen"
    open = "open"


class Weights(StrEnum):
    auto = "auto"
    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


ModelOption = Annotated[str, typer.Option("--model", "-m", help="Embedded model, directory, or name on the hub.")]
MemoryModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", envvar="TMEM_MODEL", help="As elsewhere; default: smollm2 where it is installed."),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        envvar="TMEM_ENGINE",
        help="What generates: llamacpp, llamacpp:q8_0, llamacpp:FILE.gguf, or a server's URL; default: tmem itself.",
    ),
]
WeightsOption = Annotated[
    Weights,
    typer.Option(
        "--weights",
        envvar="TMEM_WEIGHTS",
        help="What decoding reads on a CPU; auto is exact. float16, and for many at once bfloat16, are faster and make "
        "of a model in float32 another; bfloat16 also rounds more where many are answered at once.",
    ),
]
RateOption = Annotated[
    str | None,
    typer.Option("--lr", help="Rate of the write: a number, or auto to measure it; default: the model's own."),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Decides everything random.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; default: all.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DEFAULT_MODEL = "persona-nano"
LONGEST_WORD = 40  # cells; of longer ones, as texts without spaces are, lines may end anywhere


def wide() -> Console:
    """Standard output for tables: in a file or a pipe, where nothing says how wide it is, no cell is broken."""
    return out if out.is_terminal or "COLUMNS" in os.environ else Console(width=160)


def show_table(
    console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "", numbers: bool = False
) -> None:
    """A table of texts as they are, none broken within a word: where that needs it, wider than the console.

    ``numbers``: all columns but the first stand to the right.
    """
    table = Table(title=Text(title), title_justify="left")
    cells = [[Text(text) for text in row] for row in (columns, *rows)]
    by_column = [[cell.plain for cell in column] for column in zip(*cells, strict=True)]
    least = [max(cell_len(word) for text in own for word in text.split() or [""]) for own in by_column]
    least = [min(width, LONGEST_WORD) for width in least]
    most = [max(cell_len(line) for text in own for line in text.splitlines() or [""]) for own in by_column]
    spare, widths = console.width - sum(least) - 3 * len(least) - 1, dict[int, int]()
    for done, place in enumerate(sorted(range(len(least)), key=lambda place: most[place] - least[place])):
        more = min(most[place] - least[place], max(spare, 0) // (len(least) - done))
        widths[place], spare = least[place] + more, spare - more
    for place, name in enumerate(cells[0]):
        table.add_column(name, width=widths[place], justify="right" if numbers and place else "left")
    for row in cells[1:]:
        table.add_row(*row)
    width = max(console.width, sum(widths.values()) + 3 * len(widths) + 1)
    Console(file=console.file, width=width).print(table)


def typed(read: Callable[[], str]) -> str:
    """What is read from standard input. Raises :class:`UsageError` for bytes that are no text."""
    try:
        return read()
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input cannot be read as text ({first_line(error)}): give UTF-8") from None


def load_model(
    name: str,
    threads: int | None = None,
    device: Any = None,
    dtype: str = "auto",
    weights: Weights = Weights.auto,
) -> Any:
    """Load a model, saying so on standard error."""
    gc.enable()  # from here on it may take long
    import torch
    import transformers

    from tmem.model import load

    transformers.logging.disable_progress_bar()
    if threads is not None:
        torch.set_num_threads(threads)
    with err.status(f"loading {escape(name)}"):
        return load(
            name,
            device,
            dtype,
            lambda text: err.print(f"tmem: {escape(text)}", highlight=False, soft_wrap=True),
            weights.value,
        )


def load_memory_model(name: str | None, weights: Weights) -> Any:
    """The model that memories live in: if none is named the English one where it is installed, else an embedded one."""
    from tmem import assets
    from tmem.model import gguf

    installed = all(map(find_spec, (gguf.SHIPPED["smollm2"], "gguf")))
    english = installed and assets.taught("smollm2") is not None
    return load_model(name or ("smollm2" if english else DEFAULT_MODEL), weights=weights)


def choose_recipe(model: Any, name: str, lr: str | None, **changes: Any) -> Any:
    """The named recipe with ``changes`` and the rate that ``--lr`` asks for."""
    if lr == "auto":
        recipe = model.recipe(name, **changes)
        if recipe.fresh is not None:
            raise UsageError(f"--lr auto measures a rate of SGD: give a number, or another recipe than {name}")
        return recipe.model_copy(update={"lr": model.probe(recipe).rate})
    if lr is not None:
        try:
            changes["lr"] = float(lr)
        except ValueError:
            raise UsageError(f"--lr {lr}: give a number or auto") from None
    return model.recipe(name, **changes)


def print_json(value: Any) -> None:
    """One JSON object on standard output, escaped where that cannot hold all letters."""
    plain = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    print(json.dumps(value, ensure_ascii=plain))
