"""A report as tables with words: the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tmem.evaluation.across import ALL, data_title, flat
from tmem.evaluation.stats import RESAMPLES

_METRICS = {"f1": "F1", "em": "EM", "f1_sum": "sum of F1", "em_sum": "sum of EM"}
FEW = 20  # conversations, below which a bootstrap over them gives intervals that are too narrow


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


def overview(across: dict[str, list[dict[str, Any]]]) -> Section:
    """Runs beside each other, where there are several."""
    section = Section("Overview")
    for group in across["models"]:
        if len(group["runs"]) > 1:
            section.tables += _side_by_side(group)
    for name, words in (("budget", "tokens of the working context (L_max)"), ("length", "facts told in a stream")):
        for lines in across[name]:
            measure = lines["measure"]
            values = sorted({point["x"] for points in lines["memories"].values() for point in points})
            rows = []
            for memory, points in lines["memories"].items():
                cells = {point["x"]: _cell(measure, point) for point in points}
                rows.append([memory, *(cells.get(value, "") for value in values)])
            title = f"{metric(measure)} by {words}: {lines['title']}"
            section.tables.append(Table(title, ["memory", *map(str, values)], rows))
    return section


def _side_by_side(group: dict[str, Any]) -> list[Table]:
    measure, runs = group["measure"], group["runs"]
    memories = dict.fromkeys(memory for run in runs for memory in run["memories"])
    columns = ["memory", *(run["label"] for run in runs)]
    scores = [[memory, *(_cell(measure, run["memories"].get(memory)) for run in runs)] for memory in memories]
    tokens = [
        [
            memory,
            *(
                amount(own["memories"][memory]["tokens_per_question"]) if memory in own["memories"] else ""
                for own in runs
            ),
        ]
        for memory in memories
    ]
    asked = {run["questions"] for run in runs}
    note = "" if len(asked) == 1 else "The runs answered different numbers of questions: compare with care."
    return [
        Table(f"{metric(measure)} by memory and run: {group['title']}", columns, scores, note),
        Table(
            f"Tokens per question: {group['title']}",
            columns,
            tokens,
            "Everything that was read and generated for building memories and for answering, over the questions.",
        ),
    ]


# ---- one run ----


def run_section(run: dict[str, Any]) -> Section:
    """Everything about one run."""
    about = run["about"]
    section = Section(f"{about['model']} on {data_title(about)}", _facts(run), about.get("command") or "")
    section.remarks = [*run["coverage"], *run["warnings"]]
    if not run["questions"]:
        section.remarks.append("Nothing is recorded yet: the run has only begun, or was interrupted.")
        return section
    if run["measures"]:
        section.tables += [_headline(run, subset) for subset in run["constants"]]
        section.tables += [*_other_measures(run), _categories(run), *_comparisons(run)]
    else:
        section.remarks.append("The answers have no scores: this benchmark needs a judge, see tmem score --help.")
    section.tables += [_build(run), _answer(run), *_extraction(run), *_retention(run), *_losses(run)]
    return section


def _facts(run: dict[str, Any]) -> list[tuple[str, str]]:
    about = run["about"]
    data = flat(about["data"])
    known = data.pop("known", None)
    published = [f"the published file {known}" if known else "no published file that tmem knows"]
    seeds = ", ".join(map(str, run["seeds"]))
    size = about.get("parameters")
    return [
        ("benchmark", about["bench"]),
        ("data", ", ".join([*_pairs(data), *(published if "sha256" in data else [])])),
        ("model", about["model"] + (f", {size:,} parameters" if size else "")),
        ("weights", str(about.get("model_hash"))),
        ("prompts", str(about.get("prompts"))),
        ("recipe", ", ".join(_pairs(flat(about["recipe"])))),
        ("settings", ", ".join(_pairs(flat(about["settings"])))),
        ("recorded", f"{run['conversations']:,} conversations, {run['questions']:,} questions, seeds {seeds}"),
        ("version", f"tmem {about.get('version')}"),
        ("folder", run["folder"]),
    ]


def _pairs(values: dict[str, Any]) -> Iterable[str]:
    for key, value in values.items():
        if value is not None:
            yield f"{key} {value:,}" if type(value) is int else f"{key} {value}"


def _names(run: dict[str, Any]) -> dict[str, str]:
    """Memories as tables call them: with a mark where the model was never taught their prompts."""
    return {memory: memory + ("" if own["taught"] in (None, True) else " †") for memory, own in run["memories"].items()}


def _headline(run: dict[str, Any], subset: str) -> Table:
    measures, constants = run["headline"], run["constants"][subset]
    rows = []
    for memory, name in _names(run).items():
        found = run["memories"][memory]["scores"][subset]
        row = [name, f"{max((own['n'] for own in found.values()), default=0):,}"]
        for measure in measures:
            own = found.get(measure)
            sd = "" if own is None or own["sd"] is None else f" ± {_number(measure, own['sd'])}"
            row += ["", ""] if own is None else [_number(measure, own["mean"]) + sd, _interval(measure, own)]
        rows.append(row)
    scorer = measures[0].rpartition(" ")[0]
    note = (
        f"Scores from 0 to 100 by {scorer}, means over the questions of all seeds; ± is the s.d. of the seeds' means."
    )
    note += _about_intervals(run["conversations"])
    if set(measures) <= constants.keys():
        rows.append(["a constant answer", "", *(c for m in measures for c in (_number(m, constants[m]["mean"]), ""))])
        answers = " and ".join(dict.fromkeys(f"“{constants[m]['answer']}”" for m in measures))
        note += f" A constant answer: what the same words for every question score at best, here {answers}."
    if any(own["taught"] is False for own in run["memories"].values()):
        note += " † This model was never taught the prompts of this memory: a low score says little about the memory."
    columns = ["memory", "questions", *(c for m in measures for c in (metric(m), "95 % interval"))]
    return Table(f"Scores, {subset}", columns, rows, note)


def _about_intervals(conversations: int) -> str:
    if conversations < 2:
        return " There is one conversation only, so no interval can be given."
    note = f" Interval: {RESAMPLES:,} draws of {conversations:,} from the {conversations:,} conversations."
    return note + (" With so few it is rather too narrow." if conversations < FEW else "")


def _other_measures(run: dict[str, Any]) -> list[Table]:
    others = [measure for measure in run["measures"] if measure not in run["headline"]]
    notes = []
    for judge in run["judges"]:
        note = f"Judge {judge['model']}: {judge['judged']:,} answers judged"
        note += f", {judge['failed']} without a reply and {judge['unreadable']} with one that says neither (counted as wrong)"
        if judge["false_accept"] is None:
            note += "; it has not been calibrated."
        else:
            note += f"; of answers known to be wrong it accepts {100 * judge['false_accept']:.1f} %"
            note += f", of right ones it rejects {100 * judge['false_reject']:.1f} %."
        notes.append(note)
    if not others:
        return []
    rows = [
        [name, *(_cell(measure, run["memories"][memory]["scores"][ALL].get(measure)) for measure in others)]
        for memory, name in _names(run).items()
    ]
    columns = ["memory", *(f"{metric(m)} ({m.rpartition(' ')[0]})" for m in others)]
    return [Table("The same answers by other scorers", columns, rows, " ".join(notes))]


def _categories(run: dict[str, Any]) -> Table:
    measures = run["headline"]
    kinds: dict[str, int] = {}
    for own in run["memories"].values():
        for kind, found in own["by_category"].items():
            kinds[kind] = max(kinds.get(kind, 0), *(estimate["n"] for estimate in found.values()), 0)
    rows = []
    for memory, name in _names(run).items():
        tables = [run["memories"][memory]["by_category"].get(kind, {}) for kind in kinds]
        rows.append([name, *(" / ".join(_number(m, t[m]["mean"]) for m in measures if m in t) for t in tables)])
    columns = ["memory", *(f"{kind} ({n:,})" for kind, n in kinds.items())]
    return Table(f"{' / '.join(map(metric, measures))} by category (questions)", columns, rows)


def _comparisons(run: dict[str, Any]) -> list[Table]:
    measures = run["headline"]
    rows = []
    for pair in run["comparisons"]:
        found = [pair["measures"][measure] for measure in measures]
        differences = [
            f"{'+' if own['mean'] > 0 else ''}{_cell(measure, own)}{' *' if own['clear'] else ''}"
            for measure, own in zip(measures, found, strict=True)
        ]
        counts = f"{found[0]['wins']} / {found[0]['ties']} / {found[0]['losses']}"
        rows.append([f"{pair['first']} against {pair['second']}", str(found[0]["n"]), *differences, counts])
    if not rows:
        return []
    columns = ["memories", "questions", *(metric(measure) for measure in measures), "better / equal / worse"]
    note = (
        "By how much the first is better, on the questions that both answered; counted by "
        f"{metric(measures[0])}. * The interval excludes 0; among twenty pairs without a difference one such mark is "
        "to be expected."
    )
    return [Table("Memories compared question by question", columns, rows, note)]


def _build(run: dict[str, Any]) -> Table:
    rows = []
    for memory, name in _names(run).items():
        cost = run["memories"][memory]["cost"]
        build = cost["build"]
        numbers = (amount(build[key]) for key in ("triggers", "llm_calls", "prompt_tokens", "new_tokens"))
        seconds = ", ".join(f"{phase} {amount(value)}" for phase, value in build["seconds"].items())
        size = ", ".join(f"{amount(value)} {unit}" for unit, value in cost["memory_size"].items())
        rows.append([name, f"{cost['lives']:,}", *numbers, seconds or "-", size or "-"])
    columns = ["memory", "readings", "triggers", "LLM calls", "prompt tokens", "new tokens", "seconds", "memory"]
    note = (
        "Means per reading of a conversation. A memory that knows the question while it reads has one reading per "
        "question. Triggers: how often the working context was full and was taken in."
    )
    return Table("Cost of building the memory", columns, rows, note)


def _answer(run: dict[str, Any]) -> Table:
    rows = []
    for memory, name in _names(run).items():
        cost = run["memories"][memory]["cost"]
        numbers = [cost["answer"][key] for key in ("llm_calls", "prompt_tokens", "new_tokens", "seconds")]
        rows.append([name, *map(amount, [*numbers, cost["tokens_per_question"]])])
    columns = ["memory", "LLM calls", "prompt tokens", "new tokens", "seconds", "tokens with building"]
    note = "Means per question. The last column adds the tokens of building the memory, shared among its questions."
    return Table("Cost of answering", columns, rows, note)


def _extraction(run: dict[str, Any]) -> list[Table]:
    rows = []
    for memory, name in _names(run).items():
        own = run["memories"][memory]["extraction"]
        if own is not None:
            known = [f"{100 * own[key]:.1f}" if key in own else "-" for key in ("recall", "precision", "valid_json")]
            words = (", ".join(f"{count} {what}" for what, count in own[key].items()) for key in ("status", "dropped"))
            rows.append([name, str(own["writes"]), str(own["applied"]), amount(own["pairs_per_write"]), *known, *words])
    columns = [
        "memory",
        "writes",
        "applied",
        "pairs a write",
        "recall",
        "precision",
        "valid JSON",
        "replies",
        "dropped",
    ]
    note = "Recall and precision: extracted pairs against the facts told, in %, where the benchmark knows them."
    return [Table("What was extracted and written", columns, rows, note)] if rows else []


def _retention(run: dict[str, Any]) -> list[Table]:
    found = {memory: {row["age"]: row for row in own["retention"]} for memory, own in run["memories"].items()}
    ages = sorted({age for rows in found.values() for age in rows}, key=lambda age: int(age.partition("-")[0]))
    if not ages:
        return []
    measure = run["headline"][0]
    rows = [
        [
            name,
            *(
                f"{_number(measure, found[memory][age]['mean'])} ({found[memory][age]['n']})"
                if age in found[memory]
                else ""
                for age in ages
            ),
        ]
        for memory, name in _names(run).items()
    ]
    note = (
        "Age: sessions (or other units) that were read after the one that holds the answer. No adversarial questions."
    )
    return [Table(f"{metric(measure)} (questions) by age of what is asked for", ["memory", *ages], rows, note)]


def _losses(run: dict[str, Any]) -> list[Table]:
    found = {memory: {row["write"]: row for row in own["losses"]} for memory, own in run["memories"].items()}
    found = {memory: rows for memory, rows in found.items() if rows}
    if not found:
        return []
    rows = []
    for number in sorted({number for own in found.values() for number in own}):
        cells = [
            f"{own[number]['first']:.2f} → {own[number]['last']:.2f}" if number in own else "" for own in found.values()
        ]
        rows.append([str(number), *cells])
    note = "Mean loss per token of the pairs that are new in a write, in its first and in its last epoch."
    return [Table("Loss of each write", ["write", *found], rows, note)]
