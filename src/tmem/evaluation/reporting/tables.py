"""A report as tables with words: the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tmem.evaluation.reporting.comparison import ALL, data_title, flat
from tmem.evaluation.stats import BUILDING, RESAMPLES

_METRICS = {"f1": "F1", "em": "EM", "f1_sum": "sum of F1", "em_sum": "sum of EM", "rubrics": "rubrics met"}
_JUDGED = {
    "accuracy": "accuracy",
    "task_average": "mean of types",
    "abstention": "unanswerable",
    "without_abstention": "answerable",
}
MARK = "†"
FEW = 20  # conversations; a bootstrap over fewer gives intervals that are too narrow


@dataclass(frozen=True)
class Table:
    """A title, columns and rows of text, the first column being names; ``note`` says how to read it."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass
class Section:
    """A part of the report. ``facts``: what was run, as names and values. ``remarks``: what to know first."""

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    command: str = ""
    remarks: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def metric(measure: str) -> str:
    """The name of a measure without its scorer: "F1"."""
    name = measure.rpartition(" ")[2]
    return _METRICS.get(name, name)


def amount(value: float) -> str:
    """A number of tokens, calls or seconds, with as many digits as one reads."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 or value == 0 else f"{value:.2g}"


def marked(text: str, *points: Mapping[str, Any]) -> str:
    """A memory's name, or its score, with a mark if the model of one of the points was never taught to use it."""
    return f"{text} {MARK}" if any(point["taught"] is False for point in points) else text


def explanation(texts: Iterable[str]) -> str:
    """What the mark means, "" if none of the texts has it."""
    if not any(MARK in text for text in texts):
        return ""
    return f"{MARK} The model was never taught to use this memory: a low score says little about the memory."


def _explain(section: Section) -> None:
    """Add what the mark means to a section whose tables have it."""
    if text := explanation(text for table in section.tables for row in (table.columns, *table.rows) for text in row):
        section.remarks.append(text)


def _number(measure: str, value: float) -> str:
    return f"{value:.2f}" if measure.endswith("_sum") else f"{value:.1f}"


def _interval(measure: str, estimate: Mapping[str, Any]) -> str:
    if estimate["low"] is None:
        return "-"
    return f"[{_number(measure, estimate['low'])}, {_number(measure, estimate['high'])}]"


def _cell(measure: str, estimate: Mapping[str, Any] | None) -> str:
    """Mean and interval, "" for what was not measured."""
    return "" if estimate is None else f"{_number(measure, estimate['mean'])} {_interval(measure, estimate)}"


# ---- several runs ----


def overview(comparison: Mapping[str, list[dict[str, Any]]]) -> Section:
    """Runs beside each other, where there are several."""
    section = Section("Runs compared")
    for group in comparison["models"]:
        if len(group["runs"]) > 1:
            section.tables += _side_by_side(group)
    section.tables += [_along(lines, "tokens of the working context (L_max)") for lines in comparison["budget"]]
    section.tables += [_along(lines, "facts told in a stream") for lines in comparison["length"]]
    for apart in comparison["comparisons"]:
        section.tables += [replace(table, title=f"{table.title}: {apart['title']}") for table in _comparisons(apart)]
    _explain(section)
    return section


def _side_by_side(group: Mapping[str, Any]) -> list[Table]:
    measure, runs = group["measure"], group["runs"]
    columns = ["memory", *(run["label"] for run in runs)]
    points = {memory: [run["memories"].get(memory) for run in runs] for run in runs for memory in run["memories"]}

    def rows(cell: Callable[[dict[str, Any]], str]) -> list[list[str]]:
        # Models differ in what they were taught: it is their cells that are marked.
        return [[memory, *(marked(cell(p), p) if p else "" for p in own)] for memory, own in points.items()]

    scores = rows(lambda point: _cell(measure, point))
    tokens = rows(_tokens)
    same = len({run["questions"] for run in runs}) == 1
    note = "" if same else "The runs have different numbers of questions recorded: compare with care."
    cost = (
        "All that was read and generated, for building memories and for answering, over the number of questions; "
        "after +, what weights were trained on, as often as there were epochs."
    )
    return [
        Table(f"{metric(measure)} with its 95 % interval: {group['title']}", columns, scores, note),
        Table(f"Tokens per question: {group['title']}", columns, tokens, cost),
    ]


def _tokens(cost: Mapping[str, Any]) -> str:
    trained = cost["trained_per_question"]
    return amount(cost["tokens_per_question"]) + (f" + {amount(trained)}" if trained else "")


def _along(lines: Mapping[str, Any], words: str) -> Table:
    measure = lines["measure"]
    values = sorted({point["x"] for points in lines["memories"].values() for point in points})
    rows = []
    for memory, points in lines["memories"].items():
        cells = {point["x"]: _cell(measure, point) for point in points}
        rows.append([marked(memory, *points), *(cells.get(value, "") for value in values)])
    title = f"{metric(measure)} with its 95 % interval, by {words}: {lines['title']}"
    return Table(title, ["memory", *(f"{value:,}" for value in values)], rows)


# ---- one run ----


def run_section(run: Mapping[str, Any]) -> Section:
    """Everything about one run."""
    about = run["about"]
    title = f"{Path(run['folder']).name}: {about['model']} on {data_title(about)}"
    section = Section(title, _facts(run), about.get("command") or "", [*run["coverage"], *run["warnings"]])
    if not run["questions"]:
        section.remarks.append("Nothing is recorded yet: the run has only begun, or was interrupted.")
        return section
    if run["headline"]:
        section.tables += [_scores(run, subset) for subset in run["constants"]]
        section.tables += [*_other_scores(run), *_judged(run), _categories(run), *_comparisons(run)]
    else:
        section.remarks.append("The answers have no scores: this benchmark needs a judge, see tmem score --help.")
    section.tables += [_building(run), _answering(run), *_extraction(run), *_retention(run), *_losses(run)]
    _explain(section)
    return section


def _facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    about = run["about"]
    data = flat(about["data"])
    known = data.pop("known", None)
    published = f", the published file {known}" if known else ", no published file that tmem knows"
    seeds = ", ".join(map(str, run["seeds"]))
    return [
        ("benchmark", about["bench"]),
        ("data", _listed(data) + (published if "known" in about["data"] else "")),
        ("model", f"{about['model']}, {about.get('parameters') or 0:,} parameters, weights {about.get('model_hash')}"),
        ("prompts", str(about.get("prompts"))),
        ("recipe", _listed(about["recipe"])),
        ("settings", _listed(flat(about["settings"]))),
        ("recorded", f"{run['questions']:,} questions about {run['conversations']:,} conversations; seeds {seeds}"),
        *(("judge", _judge(judge)) for judge in run["judges"]),
        ("version", f"tmem {about.get('version')}"),
        ("folder", run["folder"]),
    ]


def _listed(values: Mapping[str, Any]) -> str:
    known = {key: f"{value:,}" if type(value) is int else value for key, value in values.items() if value is not None}
    return ", ".join(f"{key} {value}" for key, value in known.items())


def _judge(judge: Mapping[str, Any]) -> str:
    text = f"{judge['model']}, {judge['judged']:,} of {judge['of']:,} answers judged"
    if judge["template_sha256"]:
        text += f" by prompts {judge['template_sha256'][:12]}"
    if judge["failed"] or judge["unreadable"]:
        text += f", of which {judge['failed']} got no verdict and {judge['unreadable']} one that cannot be read: both "
        text += "count as wrong"
    if judge["false_accept"] is None:
        return f"{text}; not calibrated"
    accepts, rejects = 100 * judge["false_accept"], 100 * judge["false_reject"]
    return f"{text}; of our wrong answers it accepts {accepts:.1f} %, of our right ones it rejects {rejects:.1f} %"


def _rows(run: Mapping[str, Any], cells: Callable[[dict[str, Any]], list[str]]) -> list[list[str]]:
    """A row per memory; one that the model was never taught to use has a mark."""
    return [[marked(memory, own), *cells(own)] for memory, own in run["memories"].items()]


def _scores(run: Mapping[str, Any], subset: str) -> Table:
    measures, constants = run["headline"], run["constants"][subset]

    def cells(own: dict[str, Any]) -> list[str]:
        found = own["scores"][subset]
        row = [f"{max((estimate['n'] for estimate in found.values()), default=0):,}"]
        for measure in measures:
            estimate = found.get(measure)
            spread = f" ± {_number(measure, estimate['sd'])}" if estimate and estimate["sd"] is not None else ""
            row += [_number(measure, estimate["mean"]) + spread, _interval(measure, estimate)] if estimate else ["", ""]
        return row

    rows, note = _rows(run, cells), ""
    if subset == ALL:
        note = f"0 to 100 by {measures[0].rpartition(' ')[0]}, means over the questions of all seeds; ±: s.d. of the "
        note += f"seeds' means. {_about_intervals(run['conversations'])} "
    if constants:
        rows.append(["one answer to all", "", *(c for m in measures for c in (_number(m, constants[m]["mean"]), ""))])
        answers = " or ".join(dict.fromkeys(f"“{constants[m]['answer']}”" for m in measures))
        note += f"One answer to all: what the same words for every question get, here {answers}."
    columns = ["memory", "questions", *(column for m in measures for column in (metric(m), "95 % interval"))]
    return Table(f"Scores, {subset}", columns, rows, note.strip())


def _about_intervals(conversations: int) -> str:
    if conversations < 2:
        return "From one conversation no interval can be computed."
    few = " With so few conversations it is rather too narrow." if conversations < FEW else ""
    return f"Interval: the {conversations:,} conversations drawn anew with replacement, {RESAMPLES:,} times.{few}"


def _other_scores(run: Mapping[str, Any]) -> list[Table]:
    others = [measure for measure in run["measures"] if measure not in run["headline"]]

    def cell(found: dict[str, Any], measure: str) -> str:
        n = found[measure]["n"] if measure in found else 0
        part = f" of {n:,}" if 0 < n < max(estimate["n"] for estimate in found.values()) else ""
        return _cell(measure, found.get(measure)) + part

    rows = _rows(run, lambda own: [cell(own["scores"][ALL], measure) for measure in others])
    columns = ["memory", *(f"{metric(measure)} ({measure.rpartition(' ')[0]})" for measure in others)]
    return [Table("The same answers by other scorers, with 95 % intervals", columns, rows)] if others else []


def _judged(run: Mapping[str, Any]) -> list[Table]:
    """LongMemEval's own means, a table per judge."""

    def text(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    tables = []
    for measure in dict.fromkeys(measure for own in run["memories"].values() for measure in own["judged"]):

        def cells(own: dict[str, Any], measure: str = measure) -> list[str]:
            return [text(own["judged"][measure][key]) for key in _JUDGED]

        title = f"Accuracy by {measure.rpartition(' ')[0]}"
        note = "Mean of types: of the accuracies by type of question, each counting the same."
        tables.append(Table(title, ["memory", *_JUDGED.values()], _rows(run, cells), note))
    return tables


def _categories(run: Mapping[str, Any]) -> Table:
    measures = run["headline"]
    counts: dict[str, int] = {}
    for own in run["memories"].values():
        for kind, found in own["by_category"].items():
            counts[kind] = max(counts.get(kind, 0), *(estimate["n"] for estimate in found.values()), 0)

    def cells(own: dict[str, Any]) -> list[str]:
        found = [own["by_category"].get(kind, {}) for kind in counts]
        return [" / ".join(_number(m, kind[m]["mean"]) for m in measures if m in kind) for kind in found]

    columns = ["memory", *(f"{kind} ({n:,})" for kind, n in counts.items())]
    return Table(f"{' / '.join(map(metric, measures))} by category (questions)", columns, _rows(run, cells))


def _comparisons(run: Mapping[str, Any]) -> list[Table]:
    measures, memories, rows = run["headline"], run["memories"], []
    for pair in run["comparisons"]:
        found = [(measure, pair["measures"][measure]) for measure in measures]
        names = " - ".join(marked(memory, memories[memory]) for memory in (pair["first"], pair["second"]))
        star = "" if MARK in names else "*"
        cells = [f"{own['mean']:+.1f}{star if own['clear'] else ''} {_interval(m, own)}" for m, own in found]
        own = found[0][1]
        counts = f"{own['wins']:,} / {own['ties']:,} / {own['losses']:,}"
        rows.append([names, f"{own['n']:,}", *cells, counts])
    columns = ["memories", "questions", *map(metric, measures), "wins / ties / losses"]
    note = (
        "The first memory's score minus the second's on the questions that both answered; wins by the first column. "
        "* The interval excludes 0. Where nothing differs, one in twenty comparisons gets such a mark."
    )
    if any(MARK in row[0] for row in rows):
        note += f" No * where one of the two has {MARK}."
    return [Table("Memories compared question by question, with 95 % intervals", columns, rows, note)] if rows else []


def _building(run: Mapping[str, Any]) -> Table:
    def cells(own: dict[str, Any]) -> list[str]:
        cost, build = own["cost"], own["cost"]["build"]
        numbers = [amount(build[key]) for key in BUILDING]
        seconds = ", ".join(f"{phase} {amount(value)}" for phase, value in build["seconds"].items())
        size = ", ".join(f"{amount(value)} {unit}" for unit, value in cost["memory_size"].items())
        return [f"{cost['rollouts']:,}", *numbers, seconds or "-", size or "-"]

    tokens = ("prompt tokens", "new tokens", "trained on")
    columns = ["memory", "readings", "triggers", "LLM calls", *tokens, "seconds", "its size"]
    note = (
        "Means per reading of a stream; a memory that knows the question while it reads needs a reading per question. "
        "Triggers: how often the working context was full and was taken in. Trained on: tokens of the pairs that "
        "weights were trained on, as often as there were epochs."
    )
    return Table("Cost of building the memory", columns, _rows(run, cells), note)


def _answering(run: Mapping[str, Any]) -> Table:
    def cells(own: dict[str, Any]) -> list[str]:
        answer = own["cost"]["answer"]
        keys = ("llm_calls", "prompt_tokens", "new_tokens", "seconds")
        return [*(amount(answer[key]) for key in keys), _tokens(own["cost"])]

    columns = ["memory", "LLM calls", "prompt tokens", "new tokens", "seconds", "tokens with building"]
    note = (
        "Means per question. The last column adds the tokens of building the memory, shared among its questions; "
        "after +, those that weights were trained on."
    )
    return Table("Cost of answering", columns, _rows(run, cells), note)


def _extraction(run: Mapping[str, Any]) -> list[Table]:
    rows = []
    for memory, own in run["memories"].items():
        if found := own["extraction"]:
            rates = (
                f"{100 * found[key]:.1f}" if key in found else "-" for key in ("recall", "precision", "valid_json")
            )
            counts = (", ".join(f"{n} {what}" for what, n in found[key].items()) for key in ("status", "dropped"))
            numbers = (f"{found['writes']:,}", f"{found['applied']:,}", amount(found["pairs_per_write"]))
            rows.append([marked(memory, own), *numbers, *rates, *counts])
    columns = ["memory", "writes", "applied", "pairs each", "recall", "precision", "valid JSON", "replies", "dropped"]
    note = "Recall and precision: extracted pairs against the facts told, in %, where the benchmark knows these."
    return [Table("What was extracted and written", columns, rows, note)] if rows else []


def _retention(run: Mapping[str, Any]) -> list[Table]:
    found = {row["age"] for own in run["memories"].values() for row in own["retention"]}
    ages = sorted(found, key=lambda age: int(age.partition("-")[0]))

    def cells(own: dict[str, Any]) -> list[str]:
        rows = {row["age"]: f"{row['mean']:.1f} ({row['n']:,})" for row in own["retention"]}
        return [rows.get(age, "") for age in ages]

    note = "Age: sessions (or other units) read after the one that has the answer. Without questions that have none."
    title = f"{metric(run['headline'][0]) if run['headline'] else ''} (questions) by age of what is asked for"
    return [Table(title, ["memory", *ages], _rows(run, cells), note)] if ages else []


def _losses(run: Mapping[str, Any]) -> list[Table]:
    found = {memory: {row["write"]: row for row in own["losses"]} for memory, own in run["memories"].items()}
    found = {memory: rows for memory, rows in found.items() if rows}
    numbers = sorted({number for rows in found.values() for number in rows})
    rows = [
        [str(n), *(f"{own[n]['first']:.2f} → {own[n]['last']:.2f}" if n in own else "" for own in found.values())]
        for n in numbers
    ]
    note = "Mean loss per token of the pairs that are new in a write: in its first and in its last epoch."
    columns = ["write", *(marked(memory, run["memories"][memory]) for memory in found)]
    return [Table("Loss of each write of a stream", columns, rows, note)] if rows else []
