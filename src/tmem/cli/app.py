"""The commands of ``tmem``. Each is thin: it reads options, calls the library and prints.

Standard output is the result and nothing else (one JSON object with ``--json``); progress goes to standard error and
is silent where that is not a terminal. Exit codes: 0 ok, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tmem.cli import examples, memories
from tmem.cli.common import (
    DEFAULT_MODEL,
    JsonOption,
    ModelOption,
    People,
    RateOption,
    RecipeName,
    SeedOption,
    ThreadsOption,
    Weights,
    WeightsOption,
    choose_recipe,
    err,
    load_model,
    out,
    print_json,
    show_table,
)
from tmem.errors import NotFound, TmemError, UsageError


def application(word: str | None) -> typer.Typer:
    """The commands; of one that there is, itself alone, so that nothing is imported that the others need."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, epilog=examples.shown(""))
    app.callback()(options)
    parts: dict[tuple[str, ...], Callable[[typer.Typer], None]] = {
        ("card", "eval", "train"): _studies,
        tuple(command.__name__ for command in OWN): _own,
        (*memories.COMMANDS, *memories.OF_HOMES): lambda app: memories.register(app, word),
        ("serve", "mcp", "keys"): _server,
    }
    for part in [part for names, part in parts.items() if word in names] or parts.values():
        part(app)
    examples.put(app)
    return app


def _own(app: typer.Typer) -> None:
    for command in OWN:
        app.command()(command)


def _studies(app: typer.Typer) -> None:
    from tmem.cli.card import card
    from tmem.cli.evaluate import eval_app
    from tmem.cli.train_sft import train_app

    app.command()(card)
    app.add_typer(eval_app, name="eval")
    app.add_typer(train_app, name="train")


def _server(app: typer.Typer) -> None:
    from tmem.cli.server import register

    register(app)


def main() -> None:
    """Entry point: errors that a user can cause are one line on standard error."""
    debug = "--debug" in sys.argv
    argv = [argument for argument in sys.argv[1:] if argument != "--debug"]
    for stream in (sys.stdout, sys.stderr):  # what a terminal's encoding does not have is replaced, not an error
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Models are loaded from files that are there: transformers' own progress bars and notes are noise here.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    word = next((word for word in argv if not word.startswith("-")), None)
    if word in memories.COMMANDS | memories.OF_HOMES:
        gc.disable()  # what is imported is no garbage: looking for some was a tenth of a command; see load_model
    app = application(word)
    try:
        app(args=argv, prog_name="tmem")  # reports wrong options itself, with exit code 2
    except NotFound as error:
        if debug:
            raise
        _fail(f"{error} (tmem list --all and tmem versions show what there is)", 2)
    except UsageError as error:
        if debug:
            raise
        _fail(str(error), 2)
    except TmemError as error:
        if debug:
            raise
        _fail(str(error), 1)
    except BrokenPipeError:
        sys.exit(1)


def _fail(message: str, code: int) -> None:
    print(f"tmem: {message}", file=sys.stderr)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        from tmem.cli.version import environment

        for line in environment():
            out.print(line, highlight=False, soft_wrap=True)
        raise typer.Exit


def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print versions, and end."),
    ] = False,
) -> None:
    """Agents that learn while they read: memory in fast LoRA weights."""


def demo(
    model: ModelOption = DEFAULT_MODEL,
    seed: SeedOption = 7,
    weights: WeightsOption = Weights.auto,
) -> None:
    """Watch a model read a conversation, write it into its own weights, drop the text and answer from memory."""
    from tmem.agent.prompts import PROMPTS
    from tmem.cli.demo import tour
    from tmem.cli.talk import talk

    loaded = load_model(model, weights=weights)
    if PROMPTS[loaded.settings.prompts].converses:
        talk(loaded, out)
    else:
        tour(loaded, seed, out)


def run(
    conversation: Annotated[Path, typer.Argument(help="A file of LoCoMo's shape.")],
    sample: Annotated[str | None, typer.Option(help="Which sample; default: the first.")] = None,
    questions: Annotated[int | None, typer.Option(min=1, help="Only the first N questions.")] = None,
    model: ModelOption = DEFAULT_MODEL,
    recipe: Annotated[RecipeName, typer.Option("--recipe", help="How a write trains.")] = RecipeName.tmem,
    memory: Annotated[str, typer.Option("--memory", help="What the agent remembers by; see tmem eval.")] = "tmem",
    budget: Annotated[int | None, typer.Option(min=1, help="Tokens of the working context.")] = None,
    lr: RateOption = None,
    seed: SeedOption = 1,
    folder: Annotated[Path | None, typer.Option("--out", help="Write trajectory.jsonl and answers.jsonl here.")] = None,
    threads: ThreadsOption = None,
    weights: WeightsOption = Weights.auto,
    as_json: JsonOption = False,
) -> None:
    """Read one conversation as an agent, and answer its questions."""
    from tmem.cli.run import run_conversation
    from tmem.policies import make_agent

    loaded = load_model(model, threads, weights=weights)
    agent = make_agent(loaded, choose_recipe(loaded, recipe.value, lr), memory, seed=seed)
    if budget is not None:
        agent = replace(agent, budget=budget)
    with err.status("reading") as status:
        result = run_conversation(
            agent,
            conversation,
            sample,
            questions,
            folder,
            lambda now: status.update(f"{now.triggers} triggers, {now.tokens:,} tokens"),
        )
    if as_json:
        print_json(result.record())
    else:
        result.show(out)


def score(
    run: Annotated[Path | None, typer.Argument(help="A folder that tmem eval recorded, to be judged.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="JSON lines of prediction, gold and category, made anywhere.")
    ] = None,
    scorer: Annotated[str, typer.Option(help="How predictions are scored.")] = "tmem_token",
    judge_url: Annotated[str | None, typer.Option(help="OpenAI-compatible endpoint, as http://host/v1.")] = None,
    judge_model: Annotated[str | None, typer.Option(help="The judge's name there.")] = None,
    judge_max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest verdict; more for a judge that thinks first.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Calls to the judge at a time.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Score predictions from a file, or have a run's answers judged; nothing is generated again."""
    from tmem.cli.score import show_judgements, show_scores

    if (run is None) == (predictions is None):
        raise UsageError("tmem score needs either a recorded run or --predictions FILE")
    if predictions is not None:
        if judge_url is not None or judge_model is not None:
            raise UsageError("--predictions are scored by --scorer; a judge judges a recorded run")
        from tmem.evaluation.predictions import score_file

        result, show = score_file(predictions, scorer), show_scores
    else:
        from tmem.evaluation.judging.endpoint import Endpoint
        from tmem.evaluation.judging.run import judge_run

        if judge_url is None or judge_model is None:
            raise UsageError("to judge a run give --judge-url and --judge-model")
        assert run is not None
        with err.status("judging") as status:
            result = judge_run(
                run,
                Endpoint(judge_url, judge_model),
                lambda done, total: status.update(f"{done} of {total} judged"),
                workers,
                judge_max_tokens,
            )
        show = show_judgements
    if as_json:
        print_json(result)
    else:
        show(result, out)


def world(
    target: Annotated[Path, typer.Option("--out", help="The file to write.")],
    seed: SeedOption = 1,
    conversations: Annotated[int, typer.Option(min=1)] = 1,
    sessions: Annotated[int, typer.Option(min=1)] = 4,
    facts: Annotated[int, typer.Option(min=1, help="Facts told in one conversation.")] = 16,
    people: People = People.unseen,
    as_json: JsonOption = False,
) -> None:
    """Write synthetic conversations with questions, in LoCoMo's JSON format."""
    from tmem.files import write_json
    from tmem.tasks.persona import MAX_FACTS, make_world

    if facts > MAX_FACTS:
        raise UsageError(f"--facts {facts}: a conversation has room for {MAX_FACTS}")
    samples = make_world(seed, conversations, sessions, facts, people.value)
    write_json(target, samples)
    asked = sum(len(sample["qa"]) for sample in samples)
    if as_json:
        print_json({"file": str(target), "conversations": conversations, "questions": asked, "seed": seed})
    else:
        out.print(f"{escape(str(target))}: {conversations} conversations, {asked} questions (seed {seed})")


def models(as_json: JsonOption = False) -> None:
    """What is embedded, with size and figures."""
    from tmem import assets
    from tmem.files import read_json

    rows = []
    for name in assets.names():
        folder = assets.path(name)
        assert folder is not None
        settings = read_json(folder / "tmem.json")
        with open(folder / "model.safetensors", "rb") as file:
            header = 8 + int.from_bytes(file.read(8), "little")
        size = (folder / "model.safetensors").stat().st_size
        rows.append(
            {
                "model": name,
                "parameters": (size - header) // 2,  # stored in fp16, tied embeddings once
                "bytes": size,
                "prompts": settings["prompts"],
                "budget": settings["budget"],
                "lr": settings["lr"],
                "results": settings.get("results", settings.get("figures", {})),
            }
        )
    if as_json:
        print_json({"models": rows})
        return
    cells = []
    for row in rows:
        millions, megabytes = f"{row['parameters'] / 1e6:.1f} M", f"{row['bytes'] / 1e6:.1f}"
        cells.append((row["model"], millions, megabytes, row["prompts"], str(row["budget"]), f"{row['lr']:g}"))
    show_table(out, ("model", "parameters", "MB", "prompts", "budget", "lr"), cells)
    for row in rows:
        for name, value in row["results"].items():
            out.print(f"{row['model']}  {name}: {value}")


OWN = (demo, run, score, world, models)
