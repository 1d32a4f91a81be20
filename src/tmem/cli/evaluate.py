"""``tmem eval BENCH``: memories beside each other on the same episodes, recorded question by question."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tmem.cli.common import (
    DEFAULT_MODEL,
    EngineOption,
    JsonOption,
    ModelOption,
    People,
    RateOption,
    RecipeName,
    ThreadsOption,
    Weights,
    WeightsOption,
    choose_recipe,
    err,
    load_model,
    out,
    print_json,
    show_table,
    wide,
)
from tmem.errors import UsageError

eval_app = typer.Typer(help="Measure whole episodes against gold answers.", no_args_is_help=True)

BENCHES = {
    "persona": "Fresh synthetic conversations: how much is remembered when nothing but the memory is left?",
    "everyday": "Everyday English, written by hand: what people tell an assistant, asked about in other words.",
    "personas": "Synthetic-Persona-Chat: what is true of two people who talked (--data test.csv.gz).",
    "locomo": "LoCoMo: long conversations in dated sessions (--data locomo10.json).",
    "longmemeval": "LongMemEval: one question about some fifty chats (--data longmemeval_s_cleaned.json).",
    "search": "Several questions at once, answered by searching (--data questions --corpus passages.jsonl).",
    "clbench": "CL-bench: tasks after long contexts, judged by rubrics (--data CL-bench.jsonl).",
    "seal": "SEAL: passages are learnt, then asked about (--data with what a model wrote of each passage).",
}

WITHOUT_DATA = ("persona", "everyday")


class Question(StrEnum):
    known = "known"
    blind = "blind"


class Decoding(StrEnum):
    greedy = "greedy"
    published = "published"


def bench(
    context: typer.Context,
    data: Annotated[str | None, typer.Option(help="The benchmark's file; for search also a hub data set.")] = None,
    model: ModelOption = DEFAULT_MODEL,
    engine: EngineOption = None,
    weights: WeightsOption = Weights.auto,
    memory: Annotated[str, typer.Option(help="Memories to compare, e.g. none,full,rag,memagent,tmem.")] = "tmem",
    seeds: Annotated[str, typer.Option("--seeds", "--seed", help="Numbers, e.g. 1,2,3.")] = "1",
    limit: Annotated[
        int | None, typer.Option("--limit", "--episodes", min=1, help="Only the first N episodes (persona: 20).")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Record here; the same command goes on after an interruption.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, of one thread each if more than one.")] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Processes of this Ray cluster (auto: the one here).")
    ] = None,
    recipe: Annotated[RecipeName, typer.Option("--recipe", help="How a write trains.")] = RecipeName.tmem,
    change: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: rank=12, init=random.")] = None,
    lr: RateOption = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Tokens of the working context, L_max.")] = None,
    question: Annotated[
        Question | None, typer.Option(help="Whether memories know the question while they read.")
    ] = None,
    tail: Annotated[
        bool | None,
        typer.Option(
            "--show-tail/--write-tail", help="Show fast weights' answers the last working context, or write it."
        ),
    ] = None,
    decoding: Annotated[Decoding, typer.Option(help="greedy, or sampled as in the public reproduction.")] = (
        Decoding.greedy
    ),
    top_k: Annotated[int, typer.Option(min=1, help="Notes that a memory that retrieves shows.")] = 10,
    whole_units: Annotated[
        bool, typer.Option("--notes-whole/--notes-fine", help="Notes are sessions, or turns (rounds, passages).")
    ] = False,
    embedder: Annotated[str | None, typer.Option(help="Encoder for dense retrieval, as minilm; default: BM25.")] = None,
    grammar: Annotated[bool, typer.Option(help="Force extractions to be valid JSON.")] = False,
    extractions: Annotated[int, typer.Option(min=1, help="Read each context for pairs so often.")] = 1,
    facts: Annotated[
        int, typer.Option(min=1, help="Facts told in a conversation, four a session.", rich_help_panel="persona")
    ] = 8,
    people: Annotated[
        People,
        typer.Option(
            help="unseen: other people, values and wordings than in training; open: made up anew every time.",
            rich_help_panel="persona",
        ),
    ] = People.unseen,
    half: Annotated[
        str, typer.Option(help="dev, or test: for published tables alone.", rich_help_panel="everyday")
    ] = "dev",
    questions: Annotated[
        int | None, typer.Option(min=1, help="Only the first N of each category.", rich_help_panel="locomo")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="Only these conversations, e.g. conv-26,conv-30.", rich_help_panel="locomo")
    ] = None,
    corpus: Annotated[Path | None, typer.Option(help="Passages, JSONL.", rich_help_panel="search")] = None,
    retriever_url: Annotated[str | None, typer.Option(help="MEM1's retriever.", rich_help_panel="search")] = None,
    objectives: Annotated[int, typer.Option(min=1, help="Questions at once.", rich_help_panel="search")] = 4,
    turns: Annotated[int, typer.Option(min=1, help="Searches, at most.", rich_help_panel="search")] = 10,
    subset: Annotated[Path | None, typer.Option(help="File of task ids.", rich_help_panel="clbench")] = None,
    accept: Annotated[
        bool, typer.Option("--accept-eval-license", help="Its licence was read.", rich_help_panel="clbench")
    ] = False,
    passages: Annotated[
        int, typer.Option(min=0, help="Learnt before they are asked about; 0: all.", rich_help_panel="seal")
    ] = 1,
    completions: Annotated[
        int, typer.Option(min=1, help="Texts that are given of each passage.", rich_help_panel="seal")
    ] = 1,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    from tmem.evaluation.records.spec import Spec, reading
    from tmem.evaluation.runner import run

    name = context.info_name or ""
    only_of(context, name)
    if (data is None) != (name in WITHOUT_DATA):
        wrong = "needs" if data is None else "brings its own questions: leave out"
        raise UsageError(f"tmem eval {name} {wrong} --data")
    if name == "clbench" and folder is None:
        raise UsageError("CL-bench's answers are judged after they are recorded (tmem score): give --out")
    options: dict[str, dict[str, Any]] = {
        "persona": {"facts": facts, "episodes": limit or 20, "people": people.value},
        "everyday": {"half": half},
        "personas": {"path": data},
        "locomo": {
            "path": data,
            "questions": questions,
            "samples": None if sample is None else names("--sample", sample),
        },
        "longmemeval": {"path": data},
        "search": {
            "questions": data,
            "corpus": corpus,
            "retriever_url": retriever_url,
            "objectives": objectives,
            "turns": turns,
        },
        "clbench": {"path": data, "subset": subset, "accept_license": accept},
        "seal": {"path": data, "passages": passages, "completions": completions},
    }
    loaded = load_model(model, threads, weights=weights)
    changes = recipe_changes(change or [])
    if lr is not None:
        changes["lr"] = choose_recipe(loaded, recipe.value, lr, **changes).lr
    spec = Spec(
        bench=name,
        options=options[name],
        model=model,
        recipe=recipe.value,
        changes=changes,
        question_known=None if question is None else question is Question.known,
        **reading(name, budget, None if tail is None else not tail),
        decoding=decoding.value,
        top_k=top_k,
        whole_units=whole_units,
        embedder=embedder,
        grammar=grammar,
        extractions=extractions,
        engine=engine,
        weights=weights.value,
    )
    memories, chosen = names("--memory", memory), numbers("--seeds", seeds)
    command = shlex.join(["tmem", *sys.argv[1:]])
    with tempfile.TemporaryDirectory() as temporary, bar() as progress:
        place = folder or Path(temporary)
        try:
            run(spec, loaded, memories, chosen, place, limit, workers, progress, command, say, ray)
        except KeyboardInterrupt:
            kept = (
                f"what was done is kept in {folder}: the same command goes on"
                if folder
                else "nothing was kept: use --out"
            )
            print(f"\ntmem: interrupted; {kept}", file=sys.stderr)
            raise typer.Exit(130) from None
        result = summary(place, spec, loaded, memories, chosen, limit)
    for text in result["warnings"]:
        say(text)
    if as_json:
        print_json(result)
    else:
        show(result, folder, out)


for _name, _help in BENCHES.items():
    eval_app.command(_name, help=_help)(bench)


@eval_app.command("report")
def report_command(
    folders: Annotated[list[Path], typer.Argument(help="Runs, or folders that hold runs.")],
    html: Annotated[Path | None, typer.Option(help="Write a page that needs no network.")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Write the page's figures as SVG files into this folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tables of recorded runs: intervals, costs, comparisons; and a page with plots."""
    from tmem.cli.report import report

    report(folders, html, figures, as_json, wide())


def only_of(context: typer.Context, name: str) -> None:
    """Raises :class:`UsageError` for an option of another benchmark, which this one would not heed."""
    for option in context.command.params:
        of = getattr(option, "rich_help_panel", None)
        source = context.get_parameter_source(option.name or "")
        if of in BENCHES and of != name and source is not None and source.name != "DEFAULT":
            raise UsageError(f"{option.opts[0]} is of tmem eval {of}: leave it out of tmem eval {name}")


def names(option: str, text: str) -> list[str]:
    """The parts of a list with commas, each once."""
    found = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise UsageError(f"{option} is empty: name at least one, with commas between several")
    return found


def numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in names(option, text)]
    except ValueError:
        raise UsageError(f"{option} {text}: give whole numbers with commas between them") from None


def recipe_changes(pairs: list[str]) -> dict[str, Any]:
    """``["rank=12"]`` as fields of a recipe; the recipe itself checks values."""
    from tmem.fastweights import Fresh, Recipe

    changes: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair}: write FIELD=VALUE, for example rank=12")
        fields = sorted(Recipe.model_fields.keys() - {"name", "fresh"}) + [f"fresh.{key}" for key in Fresh.model_fields]
        if key.strip() not in fields:
            raise UsageError(f"--set {pair}: a recipe has no {key.strip()!r}, only {', '.join(fields)}")
        changes[key.strip()] = value.strip()
    return changes


@contextmanager
def bar() -> Iterator[Any]:
    """A progress bar on standard error, None where that is not a terminal."""
    if not err.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.completed}/{task.total} questions, {task.fields[episodes]} episodes"),
        BarColumn(),
        TextColumn("{task.fields[triggers]} triggers, {task.fields[tokens]:,} tokens"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=None, episodes=0, triggers=0, tokens=0)

        def tell(done: int, episodes: int, total: int, triggers: int, tokens: int) -> None:
            progress.update(task, completed=done, total=total, episodes=episodes, triggers=triggers, tokens=tokens)

        yield tell


def say(text: str) -> None:
    """A notice on standard error."""
    print(f"tmem: {text}", file=sys.stderr)


def summary(
    folder: Path, spec: Any, model: Any, memories: list[str], seeds: list[int], limit: int | None
) -> dict[str, Any]:
    """What was measured, for the memories, seeds and episodes that were asked for."""
    from tmem.evaluation import summarize
    from tmem.evaluation.records.files import read_records
    from tmem.evaluation.reporting.comparison import is_taught
    from tmem.evaluation.stats import warnings
    from tmem.files import read_json

    described = read_json(folder / "run.json")
    bench = spec.benchmark(model)
    records = [r for r in read_records(folder) if r["memory"] in memories and r["seed"] in seeds]
    if limit is not None:  # else nothing is left out, and large data is not read once more
        episodes = {(seed, task.episode.id) for seed in seeds for task in islice(bench.tasks(seed), limit)}
        records = [r for r in records if (r["seed"], r["episode"]) in episodes]
    kinds = {
        kind: {memory: [r for r in records if r["memory"] == memory and r["type"] == kind] for memory in memories}
        for kind in ("episode", "question")
    }
    found = {item["memory"]: item for item in summarize(records, bench.scorers)}
    return {
        **{key: described[key] for key in ("bench", "data", "model", "recipe", "settings")},
        "scorers": bench.scorers,
        "memories": [found[name] | {"taught": is_taught(described, name)} for name in memories if name in found],
        "warnings": warnings({memory: (kinds["episode"][memory], kinds["question"][memory]) for memory in memories}),
    }


def show(result: dict[str, Any], folder: Path | None, console: Console) -> None:
    """The same for people: a row of scores per memory; one that the model was never taught to use has a mark."""
    from tmem.evaluation.reporting.tables import explanation, marked

    data, found = result["data"], result["memories"]
    if "file" in data:
        known = f" ({escape(data['known'] or 'not a published file')})" if "known" in data else ""
        console.print(f"data: {escape(str(data['file']))}, sha256 {data['sha256'][:16]}…{known}", soft_wrap=True)
    recipe = result["recipe"]
    console.print(
        f"{escape(result['model'])} on {result['bench']}; recipe {recipe['name']}, lr {recipe['lr']:g}; "
        f"working context {result['settings']['budget']} tokens; seeds {', '.join(map(str, found[0]['seeds']))}",
        highlight=False,
        soft_wrap=True,
    )
    if not result["scorers"]:
        console.print(
            f"{found[0]['n']} answers a memory, to be judged: tmem score {escape(str(folder))} --judge-url ...",
            soft_wrap=True,
        )
        return
    named = [(marked(item["memory"], item), item) for item in found]
    kinds = list(dict.fromkeys(kind for item in found for kind in item["by_category"]))
    rows = [(name, str(item["n"]), f"{item['em']:.3f}", f"{item['f1']:.3f}") for name, item in named]
    show_table(console, ("memory", "n", "EM", "F1"), rows, f"by {result['scorers'][0]}", numbers=True)
    cells = {kind: [item["by_category"].get(kind) for item in found] for kind in kinds}
    by_kind = [(kind, *(f"{cell['em']:.3f}" if cell else "" for cell in row)) for kind, row in cells.items()]
    if by_kind:
        show_table(console, ("kind of question, EM", *(name for name, _ in named)), by_kind, numbers=True)
    for scorer in result["scorers"][1:]:
        scores = ", ".join(f"{name} {item[scorer]['f1']:.3f}" for name, item in named)
        console.print(f"F1 by {scorer}: {scores}", highlight=False, soft_wrap=True)
    for name, item in named:
        if item["extraction"]:
            parts = ", ".join(f"{rate} {value:.3f}" for rate, value in item["extraction"].items())
            console.print(f"{name} extraction: {parts}", highlight=False, soft_wrap=True)
    if text := explanation(name for name, _ in named):
        console.print(text, highlight=False, soft_wrap=True)
    if folder is not None:
        console.print(
            f"intervals, costs and plots: tmem eval report {escape(str(folder))} --html report.html", soft_wrap=True
        )
