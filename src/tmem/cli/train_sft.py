"""``tmem train sft``: supervised training of theta_0; ``tmem train rows``: the rows to do it with."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.markup import escape
from rich.progress import track

from tmem.cli.common import (
    DEFAULT_MODEL,
    ModelOption,
    SeedOption,
    ThreadsOption,
    Weights,
    WeightsOption,
    err,
    load_model,
    out,
)
from tmem.cli.train import bar, train_app
from tmem.errors import UsageError
from tmem.files import alone

T = TypeVar("T")
REQUESTS = 560  # that stand among the rows of turns


@train_app.command()
def sft(
    files: Annotated[list[Path], typer.Argument(help="Rows, JSON lines.")],
    folder: Annotated[
        Path, typer.Option("--out", help="The run's folder; the same command goes on after an interruption.")
    ],
    model: ModelOption = DEFAULT_MODEL,
    epochs: Annotated[int, typer.Option(min=1, help="How often every row is seen.")] = 1,
    tokens: Annotated[int, typer.Option(min=64, help="Tokens of a step.")] = 2_048,
    rate: Annotated[float, typer.Option("--lr", help="Rate of AdamW, at its height.")] = 1e-3,
    slow_lora: Annotated[int, typer.Option(min=0, help="Train a LoRA of this rank; 0: all weights.")] = 32,
    adapter: Annotated[
        Path | None, typer.Option(help="Go on from this LoRA: the adapter of an earlier training of the same model.")
    ] = None,
    held_out: Annotated[int, typer.Option(min=0, help="Rows that are only looked at.")] = 32,
    settings: Annotated[
        Path | None,
        typer.Option(help="A tmem.json for the trained model: prompts, budget, limits; default: as it was."),
    ] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.", rich_help_panel="running")] = 50,
    eval_every: Annotated[int, typer.Option(min=1, help="Steps between looks.", rich_help_panel="running")] = 200,
    stop_at: Annotated[
        int | None, typer.Option(min=1, help="Stop after this step, to go on later.", rich_help_panel="running")
    ] = None,
    seed: SeedOption = 1,
    threads: ThreadsOption = None,
) -> None:
    """Train theta_0 on replies that are wanted: how to extract, read, refuse and sum up.

    A row is {"prompt": [messages], "completion": [the assistant's message]} or {"messages": [...]}, as TRL has them.
    """
    import torch

    from tmem.model.settings import settings_of
    from tmem.training.branches import fastest_dtype
    from tmem.training.checkpoint import METRICS
    from tmem.training.sft import Running, Trainer, config_of

    if not 0 < rate < math.inf:
        raise UsageError(f"--lr {rate:g}: give a number above 0")
    if adapter is not None and not slow_lora:
        raise UsageError("--adapter is a LoRA to go on from: --slow-lora 0 trains all weights instead")
    chosen = {"epochs": epochs, "tokens": tokens, "lr": rate, "slow_lora": slow_lora, "held_out": held_out}
    config = config_of(files, adapter, **chosen, seed=seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = str(fastest_dtype(device)).removeprefix("torch.") if slow_lora else "float32"
    own = None if settings is None else settings_of(settings)
    loaded = load_model(model, threads, device, dtype)
    loaded.settings = own or loaded.settings
    try:
        with alone(folder, "tmem train"):
            trainer = Trainer(config, files, loaded, folder, Running(save_every, eval_every, stop_at), adapter)
            if trainer.step:
                print(f"tmem: going on after step {trainer.step}", file=sys.stderr)
            with bar(len(trainer.plan), trainer.step, True) as (tell, _):
                trainer.train(tell)
    except KeyboardInterrupt:
        print(f"\ntmem: interrupted; the same command goes on from {folder}", file=sys.stderr)
        raise typer.Exit(130) from None
    out.print(f"model: {escape(str(folder / 'model'))}; figures: {escape(str(folder / METRICS))}", highlight=False)
    if slow_lora:
        out.print(f"adapter: {escape(str(folder / 'adapter'))}", highlight=False)


class Source(StrEnum):
    written = "written"
    everyday = "everyday"
    squad = "squad"
    personas = "personas"
    locomo = "locomo"
    chat = "chat"
    turns = "turns"


@train_app.command("rows")
def rows_command(
    source: Annotated[Source, typer.Argument(help="What to make rows of.")],
    file: Annotated[Path, typer.Option("--out", help="The file to write, JSON lines.")],
    data: Annotated[
        Path | None, typer.Option(help="squad, personas, locomo: the data set's file; chat may have squad's.")
    ] = None,
    without: Annotated[Path | None, typer.Option(help="With squad's --data: SEAL's passages, left out.")] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Texts, requests or, of turns, rows, at most.",
            show_default="3000; of written, personas and locomo all",
        ),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    seed: SeedOption = 1,
    threads: ThreadsOption = None,
    weights: WeightsOption = Weights.auto,
) -> None:
    """Make rows for tmem train sft: what a text gives, what it answers and what it does not.

    written was written by hand, everyday is a world of its own; squad (CC BY-SA 4.0), personas (CC BY 4.0) and locomo
    (CC BY-NC 4.0: five of its conversations, for research) are read from --data; chat is what --model itself answers to
    general requests, or with squad's --data to its questions without their passages; turns are messages in the midst of
    a chat, with such requests among them.
    """
    import json

    from tmem.files import write_text
    from tmem.tasks.seal import load as passages
    from tmem.training.sources import rows as made
    from tmem.training.sources.squad import squad

    if source is not Source.chat and (source in (Source.squad, Source.personas, Source.locomo)) != (data is not None):
        raise UsageError(f"tmem train rows {source.value} needs {'no' if data else 'its'} --data")
    most = count or 3_000
    left_out = [one.context.strip() for one in passages(without)] if without else ()
    if source is Source.chat and data is not None:
        from tmem.training.sources.chat import bare

        questions = [question for text in squad(data, seed, left_out) for question, _ in text.pairs or ()]
        lines = list(bare(load_model(model, threads, weights=weights), _some(questions, most, seed), _shown))
    elif source is Source.chat:
        from tmem.training.sources.chat import chat

        lines = list(chat(load_model(model, threads, weights=weights), seed, most, _shown))
    elif source is Source.turns:
        from tmem.training.sources.chat import chat, gone_on, varied
        from tmem.training.sources.turns import turns

        loaded = load_model(model, threads, weights=weights)
        general = [*chat(loaded, seed, REQUESTS, _shown), *varied(loaded, _shown)]
        lines = list(turns(seed, most, [*general, *gone_on(loaded, general, seed, _shown)]))
    elif source is Source.everyday:
        from tmem.training.sources.everyday import everyday

        lines = list(made.rows(everyday(seed, most)))
    elif source is Source.written:
        from tmem.model.gate import EncoderKeys
        from tmem.training.sources.written import written

        lines = list(made.rows(written(seed, EncoderKeys(), count)))
    elif source is Source.squad:
        assert data is not None
        lines = list(made.rows(_some(squad(data, seed, left_out), most, seed)))
    elif source is Source.locomo:
        from tmem.training.sources.locomo import TRAINING, locomo

        assert data is not None
        loaded = load_model(model, threads)
        lines = list(made.rows(_some(locomo(data, TRAINING, loaded.count, loaded.settings.budget), count, seed)))
    else:
        from tmem.training.sources.personas import personas

        assert data is not None
        lines = list(made.rows(_some(personas(data, seed), count, seed)))
    write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    out.print(f"{len(lines):,} rows: {escape(str(file))}", highlight=False)


def _some(texts: Sequence[T], count: int | None, seed: int) -> Sequence[T]:
    """So many of these, drawn by the seed; None: all, in their order."""
    return texts if count is None else random.Random(seed).sample(texts, min(count, len(texts)))


def _shown(parts: Sequence[int]) -> Iterable[int]:
    """These, with a bar on standard error if that is a terminal."""
    return track(parts, "requests", console=err, transient=True, disable=not err.is_terminal)
