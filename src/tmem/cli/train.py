"""``tmem train rl``: reinforcement learning of theta_0 through the fast weights; ``tmem train report``: its curves."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tmem.cli.common import (
    DEFAULT_MODEL,
    JsonOption,
    ModelOption,
    People,
    RecipeName,
    SeedOption,
    ThreadsOption,
    err,
    load_model,
    out,
    print_json,
    wide,
)
from tmem.cli.evaluate import Question, names, recipe_changes
from tmem.errors import UsageError
from tmem.files import alone

TRACKERS = ("tensorboard", "wandb")
PATIENCE = timedelta(hours=12)  # of processes for each other: rollouts are as long as the longest of them
train_app = typer.Typer(help="Train the model that the memory lives in.", no_args_is_help=True)


class Bench(StrEnum):
    persona = "persona"
    personas = "personas"
    written = "written"
    locomo = "locomo"
    longmemeval = "longmemeval"
    search = "search"


class How(StrEnum):
    episode = "episode"
    question = "question"
    pair = "pair"


class Weighting(StrEnum):
    tokens = "tokens"
    kinds = "kinds"


class Credit(StrEnum):
    all = "all"
    answers = "answers"


class Keep(StrEnum):
    memory = "memory"
    disk = "disk"


@train_app.command()
def rl(
    folder: Annotated[
        Path, typer.Option("--out", help="The run's folder; the same command goes on after an interruption.")
    ],
    bench: Annotated[Bench, typer.Argument(help="What to train on.")] = Bench.persona,
    model: ModelOption = DEFAULT_MODEL,
    memory: Annotated[
        str,
        typer.Option(
            help="What the agent remembers by: tmem, memagent, rag ... Of several the tasks have each in turn."
        ),
    ] = "tmem",
    steps: Annotated[int, typer.Option(min=1, help="Training steps in all.")] = 200,
    tasks: Annotated[int, typer.Option(min=1, help="Tasks a step.")] = 8,
    group: Annotated[int, typer.Option(min=2, help="Rollouts of each task, compared with each other.")] = 8,
    parts: Annotated[int, typer.Option(min=1, help="Optimizer steps a step, each on its share of the tasks.")] = 1,
    rate: Annotated[float, typer.Option("--lr", help="Rate of AdamW on theta_0.")] = 1e-6,
    reward: Annotated[str, typer.Option(help="f1, em, or module:function.")] = "f1",
    invalid: Annotated[float, typer.Option(min=0, help="Taken off for extractions that are no valid JSON.")] = 0.0,
    pairs: Annotated[float, typer.Option(min=0, help="Taken off for every pair of an extraction.")] = 0.0,
    wrong: Annotated[float, typer.Option(min=0, help="Taken off for a wrong answer; a refusal costs nothing.")] = 0.0,
    credit: Annotated[Credit, typer.Option(help="Learn from all actions, or from answers alone.")] = Credit.all,
    advantage: Annotated[
        How,
        typer.Option(
            help="episode: one outcome for all actions; question: an answer has its own; pair: a written pair, too."
        ),
    ] = How.episode,
    weighting: Annotated[
        Weighting, typer.Option(help="tokens: all alike; kinds: answers and extractions one half each.")
    ] = Weighting.tokens,
    scale: Annotated[bool, typer.Option("--scale/--no-scale", help="Divide by the group's spread.")] = False,
    clip: Annotated[float, typer.Option(min=0, help="How far a ratio to the acting policy counts.")] = 0.2,
    kl: Annotated[float, typer.Option(min=0, help="Weight of the divergence from the start.")] = 0.0,
    slow_lora: Annotated[int, typer.Option(min=0, help="Train a LoRA of this rank instead of all weights.")] = 0,
    seed: SeedOption = 1,
    recipe: Annotated[RecipeName, typer.Option(help="How a write trains.")] = RecipeName.tmem,
    change: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: rank=12, init=random.")] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Tokens of the working context, L_max.")] = None,
    question: Annotated[
        Question | None, typer.Option(help="Whether memories know the question while they read.")
    ] = None,
    extract_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of an extraction, at most; default: the model's own setting.")
    ] = None,
    held_out: Annotated[int, typer.Option(min=0, help="Episodes kept for watching; never trained on.")] = 16,
    eval_every: Annotated[int, typer.Option(min=1, help="Steps between looks at them.")] = 20,
    facts: Annotated[int, typer.Option(min=1, help="Facts a conversation.", rich_help_panel="persona")] = 8,
    people: Annotated[
        People, typer.Option(help="Their words: of lists, or open: made up anew.", rich_help_panel="persona")
    ] = People.seen,
    held_out_people: Annotated[
        People | None,
        typer.Option(help="Who is in the episodes kept for watching; default: as --people.", rich_help_panel="persona"),
    ] = None,
    data: Annotated[str | None, typer.Option(help="The data set's file.", rich_help_panel="data sets")] = None,
    corpus: Annotated[Path | None, typer.Option(help="Passages, JSONL.", rich_help_panel="search")] = None,
    objectives: Annotated[int, typer.Option(min=1, help="Questions at once.", rich_help_panel="search")] = 4,
    turns: Annotated[int, typer.Option(min=1, help="Searches, at most.", rich_help_panel="search")] = 10,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.", rich_help_panel="running")] = 5,
    at_once: Annotated[int, typer.Option(min=1, help="Rollouts in one batch.", rich_help_panel="running")] = 64,
    max_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens in one forward pass of learning.", rich_help_panel="running")
    ] = 4_096,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A server of vLLM's that generates, and gets the weights of every step.",
            rich_help_panel="running",
        ),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Save memory: make activations again.", rich_help_panel="running")
    ] = False,
    keep: Annotated[
        Keep, typer.Option("--deltas", help="Where the memories of a step are kept.", rich_help_panel="running")
    ] = Keep.memory,
    track: Annotated[
        str | None, typer.Option(help="tensorboard, wandb: also log there.", rich_help_panel="running")
    ] = None,
    threads: ThreadsOption = None,
) -> None:
    """Train theta_0 on a task's outcome: both how it acts and what it writes into its own memory.

    Several processes share the work: torchrun --standalone --nproc_per_node N -m tmem train rl ...
    """
    import torch
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    from tmem.evaluation.records.spec import Spec, reading
    from tmem.training.checkpoint import METRICS
    from tmem.training.config import Config, Running
    from tmem.training.grpo import Trainer
    from tmem.training.rewards import Reward

    if not 0 < rate < math.inf:
        raise UsageError(f"--lr {rate:g}: give a number above 0")
    trackers = tuple(names("--track", track)) if track else ()
    for tracker in trackers:
        if tracker not in TRACKERS or find_spec(tracker) is None:
            raise UsageError(f"--track {tracker}: there is {' and '.join(TRACKERS)}, where they are installed")
    if wrong and reward not in ("f1", "em"):
        raise UsageError("--wrong is taken off f1 and em; a reward of your own says itself what a wrong answer costs")
    if bench is not Bench.persona and held_out_people is not None:
        raise UsageError("--held-out-people is an option of persona")
    if (data is None) != (bench in (Bench.persona, Bench.written)):
        raise UsageError(f"tmem train rl {bench.value} needs {'its' if data is None else 'no'} --data")
    options: dict[str, dict[str, Any]] = {
        "persona": {"facts": facts, "episodes": tasks, "people": people.value},
        "personas": {"path": data},
        "written": {},
        "locomo": {"path": data},
        "longmemeval": {"path": data},
        "search": {"questions": data, "corpus": corpus, "objectives": objectives, "turns": turns},
    }
    spec = Spec(
        bench.value,
        options[bench.value],
        model,
        recipe=recipe.value,
        changes=recipe_changes(change or []),
        question_known=None if question is None else question is Question.known,
        **reading(bench.value, budget),
        engine=engine,
    )
    config = Config(
        spec,
        memory=",".join(names("--memory", memory)),
        tasks=tasks,
        group=group,
        parts=parts,
        lr=rate,
        reward=Reward(reward, invalid, pairs, wrong),
        advantage=advantage.value,
        weighting=weighting.value,
        credit=credit.value,
        scale=scale,
        clip=clip,
        kl=kl,
        slow_lora=slow_lora,
        seed=seed,
        held_out=held_out,
        eval_every=eval_every,
        extract_tokens=extract_tokens,
        held_out_people=None if held_out_people is None else held_out_people.value,
    )
    running = Running(steps, save_every, at_once, max_tokens, recompute, keep is Keep.disk, trackers)
    # Without a GPU accelerate has to be told so: else every process would train alone, all of them in one folder.
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        log_with=list(trackers) or None,
        project_dir=folder,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    loaded = load_model(model, threads, accelerator.device, "auto" if slow_lora else "float32")
    main = accelerator.is_main_process
    try:
        with alone(folder, "tmem train") if main else nullcontext():
            trainer = Trainer(config, loaded, folder, running, accelerator)
            if main and trainer.step:
                changed = f"; the source of {reward} has changed since" if trainer.reward_changed else ""
                print(f"tmem: going on after step {trainer.step}{changed}", file=sys.stderr)
            with bar(steps, trainer.step, main) as (tell, acting):
                trainer.train(tell, acting)
    except KeyboardInterrupt:
        if main:
            print(f"\ntmem: interrupted; the same command goes on from {folder}", file=sys.stderr)
        raise typer.Exit(130) from None
    if main:
        out.print(f"model: {escape(str(folder / 'model'))}; figures: {escape(str(folder / METRICS))}", highlight=False)
        out.print(f"curves: tmem train report {escape(str(folder))} --html report.html", highlight=False)
    if accelerator.num_processes > 1:
        # All is written. A thread of torch's process group that has not ended aborts the interpreter now and then, and
        # torchrun would call the run failed.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@train_app.command("report")
def report_command(
    folders: Annotated[list[Path], typer.Argument(help="Trainings, or folders that hold some.")],
    html: Annotated[Path | None, typer.Option(help="Write a page with curves that needs no network.")] = None,
    drawings: Annotated[
        Path | None, typer.Option("--figures", help="Write the curves as SVG files into this folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What trainings gave: held-out scores before and after, and curves."""
    from dataclasses import asdict

    from tmem.cli.report import show
    from tmem.evaluation.reporting.svg import save
    from tmem.training.report import figures, find, sections, write_page

    trainings = find(folders)
    drawn = [] if drawings is None else save(figures(trainings), drawings)
    if html is not None:
        write_page(trainings, html)
    if as_json:
        print_json({"trainings": [asdict(training) for training in trainings]})
        return
    console = wide()
    for section in sections(trainings):
        show(section, console)
    if html is not None:
        out.print(f"page: {escape(str(html))}", highlight=False)
    if drawn:
        out.print(f"figures: {escape(', '.join(map(str, drawn)))}", highlight=False)


@contextmanager
def bar(steps: int, done: int, shown: bool) -> Iterator[tuple[Any, Any]]:
    """Progress on standard error: a bar if it is to be ``shown`` and that is a terminal, else nothing."""
    if not shown or not err.is_terminal:
        yield None, None
        return
    columns = (
        TextColumn("step {task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.fields[last]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=steps, completed=done, last="", now="")

        def tell(figures: dict[str, Any]) -> None:
            if figures["type"] == "step":
                reward = figures.get("reward")
                known = f"loss {figures['loss']:.3f}" if "reward" not in figures else "no reward"
                last = known if reward is None else f"reward {reward:.3f}"
                progress.update(task, completed=figures["step"], last=last, now="")
            elif figures.get("f1") is not None:
                progress.console.print(
                    f"step {figures['step']}: held-out F1 {figures['f1']:.3f}, EM {figures['em']:.3f}", highlight=False
                )
            elif figures.get("loss") is not None:
                progress.console.print(f"step {figures['step']}: held-out loss {figures['loss']:.3f}", highlight=False)

        def acting(now: Any) -> None:
            progress.update(task, now=f"{now.episodes} ended, {now.running} running, {now.tokens:,} tokens")

        yield tell, acting
