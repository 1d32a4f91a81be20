"""The commands of ``tmem``. Each is thin: it reads options, calls the library and prints.

Standard output is the result and nothing else (one JSON object with ``--json``); progress goes to standard error and
is silent where that is not a terminal. Exit codes: 0 ok, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tmem.errors import TmemError, UsageError

app = typer.Typer(
    help="Agents that learn while they read: memory in fast LoRA weights.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
eval_app = typer.Typer(help="Measure whole episodes against gold answers.", no_args_is_help=True)
app.add_typer(eval_app, name="eval")

out = Console()
err = Console(stderr=True)


class MemoryName(StrEnum):
    tmem = "tmem"
    none = "none"
    tail = "tail"
    full = "full"


class RecipeName(StrEnum):
    paper = "paper"
    tmem = "tmem"


class People(StrEnum):
    seen = "seen"
    unseen = "unseen"


ModelOption = Annotated[str, typer.Option("--model", "-m", help="Embedded model, directory, or name on the hub.")]
RecipeOption = Annotated[RecipeName, typer.Option("--recipe", help="How a write trains.")]
MemoryOption = Annotated[MemoryName, typer.Option("--memory", help="What the agent remembers by.")]
RateOption = Annotated[
    str | None,
    typer.Option("--lr", help="Rate of the write: a number, or auto to measure it; default: the model's own."),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Decides everything random.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; default: all.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DEFAULT_MODEL = "persona-nano"


def main() -> None:
    """Entry point: errors that a user can cause are one line on standard error."""
    debug = "--debug" in sys.argv
    argv = [argument for argument in sys.argv[1:] if argument != "--debug"]
    # Models are loaded from files that are there: transformers' own progress bars and notes are noise here.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    try:
        app(args=argv, prog_name="tmem")  # reports wrong options itself, with exit code 2
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


def load_model(name: str, threads: int | None = None) -> Any:
    """Load a model, saying so on standard error."""
    import torch
    import transformers

    from tmem.model import load

    transformers.logging.disable_progress_bar()
    if threads is not None:
        torch.set_num_threads(threads)
    with err.status(f"loading {escape(name)}"):
        return load(name)


def choose_recipe(model: Any, name: RecipeName, lr: str | None) -> Any:
    """The named recipe with the rate that ``--lr`` asks for."""
    if lr is None or lr == "auto":
        recipe = model.recipe(name.value)
        return recipe if lr is None else recipe.model_copy(update={"lr": model.probe(recipe).rate})
    try:
        return model.recipe(name.value, lr=float(lr))
    except ValueError:
        raise UsageError(f"--lr {lr}: give a number or auto") from None


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False))


@app.command()
def demo(
    model: ModelOption = DEFAULT_MODEL,
    seed: SeedOption = 7,
) -> None:
    """Watch a model read a conversation, write it into its own weights, drop the text and answer from memory."""
    from tmem.cli.demo import tour

    tour(load_model(model), seed, out)


@app.command()
def run(
    conversation: Annotated[Path, typer.Argument(help="A file of LoCoMo's shape.")],
    sample: Annotated[str | None, typer.Option(help="Which sample; default: the first.")] = None,
    questions: Annotated[int | None, typer.Option(min=1, help="Only the first N questions.")] = None,
    model: ModelOption = DEFAULT_MODEL,
    recipe: RecipeOption = RecipeName.paper,
    memory: MemoryOption = MemoryName.tmem,
    budget: Annotated[int | None, typer.Option(min=1, help="Tokens of the working context.")] = None,
    lr: RateOption = None,
    seed: SeedOption = 1,
    folder: Annotated[Path | None, typer.Option("--out", help="Write trajectory.jsonl and answers.jsonl here.")] = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read one conversation as an agent, and answer its questions."""
    from tmem.agent.episode import Agent
    from tmem.cli.run import run_conversation

    loaded = load_model(model, threads)
    agent = Agent.of(loaded, choose_recipe(loaded, recipe, lr), memory=memory.value, seed=seed)
    if budget is not None:
        agent = replace(agent, budget=budget)
    result = run_conversation(agent, conversation, sample, questions, folder, progress())
    if as_json:
        print_json(result.record())
    else:
        result.show(out)


@eval_app.command("persona")
def eval_persona(
    model: ModelOption = DEFAULT_MODEL,
    memory: MemoryOption = MemoryName.tmem,
    recipe: RecipeOption = RecipeName.tmem,
    facts: Annotated[int, typer.Option(min=1, help="Facts told in a conversation, four a session.")] = 8,
    episodes: Annotated[int, typer.Option(min=1, help="Conversations.")] = 20,
    seed: SeedOption = 1,
    people: Annotated[People, typer.Option(help="unseen: other people, values and wordings than in training.")] = (
        People.unseen
    ),
    gold: Annotated[bool, typer.Option("--gold", help="Write the gold pairs instead of the extracted ones.")] = False,
    lr: RateOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fresh synthetic conversations: how much is remembered when nothing but the memory is left?"""
    from tmem.agent.episode import Agent
    from tmem.evaluation import evaluate
    from tmem.tasks.persona import MAX_FACTS

    if facts > MAX_FACTS:
        raise UsageError(f"--facts {facts}: a conversation has room for {MAX_FACTS}")
    loaded = load_model(model, threads)
    # The last working context is written too: what answers, is Delta alone.
    agent = Agent.of(
        loaded, choose_recipe(loaded, recipe, lr), memory=memory.value, write_tail=True, seed=seed, at_once=16
    )
    result = evaluate(agent, facts, episodes, people.value, progress(), gold)
    if as_json:
        print_json(result)
    else:
        show_evaluation(result)


def show_evaluation(result: dict[str, Any]) -> None:
    """A table of one evaluation."""
    title = f"{result['model']}, memory {result['memory']}"
    if result["recipe"]:
        title += f" (recipe {result['recipe']}, lr {result['lr']:g})"
    title += f": {result['facts']} facts, {result['episodes']} conversations, seed {result['seed']}"
    table = Table(title=title, title_justify="left")
    for column in ("question", "n", "EM", "F1"):
        table.add_column(column, justify="left" if column == "question" else "right")
    for kind, row in result["by_category"].items():
        table.add_row(kind, str(row["n"]), f"{row['em']:.3f}", f"{row['f1']:.3f}")
    table.add_section()
    table.add_row("all", str(sum(r["n"] for r in result["by_category"].values())), *_two(result))
    out.print(table)
    if result["extraction"]:
        parts = ", ".join(f"{name} {value:.3f}" for name, value in result["extraction"].items())
        out.print(f"extraction: {parts}")
    out.print(f"{result['seconds']:.1f} s")


def _two(row: dict[str, Any]) -> tuple[str, str]:
    return f"{row['em']:.3f}", f"{row['f1']:.3f}"


@app.command()
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


@app.command()
def models(as_json: JsonOption = False) -> None:
    """What is embedded, with size and figures."""
    from tmem.files import read_json
    from tmem.model import assets

    rows = []
    for name in assets.names():
        folder = assets.path(name)
        assert folder is not None
        settings = read_json(folder / "tmem.json")
        size = (folder / "model.safetensors").stat().st_size
        rows.append(
            {
                "model": name,
                "parameters": size // 2,  # stored in fp16, tied embeddings once
                "bytes": size,
                "prompts": settings["prompts"],
                "budget": settings["budget"],
                "lr": settings["lr"],
                "figures": settings.get("figures", {}),
            }
        )
    if as_json:
        print_json({"models": rows})
        return
    table = Table()
    for column in ("model", "parameters", "MB", "prompts", "budget", "lr"):
        table.add_column(column)
    for row in rows:
        millions, megabytes = f"{row['parameters'] / 1e6:.1f} M", f"{row['bytes'] / 1e6:.1f}"
        table.add_row(row["model"], millions, megabytes, row["prompts"], str(row["budget"]), f"{row['lr']:g}")
    out.print(table)
    for row in rows:
        for name, value in row["figures"].items():
            out.print(f"{row['model']}  {name}: {value}")


def progress() -> Any:
    """A progress line on standard error, or nothing where that is not a terminal."""
    if not err.is_terminal:
        return None

    def show(what: str, done: int, total: int) -> None:
        err.print(f"{what} {done}/{total}", end="\n" if done == total else "\r")

    return show
