"""The report of recorded evaluations: everything that was measured as one JSON value, and as an offline page.

Nothing is run again: a report is a function of the files ``run.json``, ``records-*.jsonl`` and, where answers were
judged, ``judgements-*.jsonl`` and ``calibration-*.json``, whatever the order of their lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

from tmem.errors import DataError
from tmem.evaluation import stats
from tmem.evaluation.judging.judge import Judge
from tmem.evaluation.judging.run import fits, recorded_judge
from tmem.evaluation.records.files import read_lines
from tmem.evaluation.reporting.comparison import (
    ALL,
    ANSWERABLE,
    NO_ABSTENTION,
    compare,
    is_taught,
    same_but_for_retrieval,
)
from tmem.evaluation.reporting.page import write
from tmem.evaluation.reporting.plots import overview_figures, run_figures
from tmem.evaluation.reporting.svg import Figure, save
from tmem.evaluation.reporting.tables import Section, overview, run_section
from tmem.files import read_json


@dataclass(frozen=True)
class Run:
    """One recorded run. Every question has two more keys: ``values``, its scores by measure, and its ``cluster``."""

    folder: str
    about: dict[str, Any]  # run.json
    episodes: list[dict[str, Any]]
    questions: list[dict[str, Any]]
    judges: list[dict[str, Any]]

    def of(self, memory: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Episodes and questions of one memory."""
        episodes = [episode for episode in self.episodes if episode["memory"] == memory]
        return episodes, [question for question in self.questions if question["memory"] == memory]


Scored = tuple[str, dict[str, dict[tuple[int, str], stats.Score]]]  # a memory, and its scores by measure

# What a report cannot do without.
ABOUT: dict[str, type] = {"bench": str, "data": dict, "model": str, "recipe": dict, "settings": dict}
EPISODE = {"memory", "seed", "episode", "questions", "build", "writes", "memory_size", "cut_short", "extraction"}
QUESTION = {"memory", "seed", "episode", "id", "category", "gold", "scores", "answer", "age", "judging", "left_out"}


# ---- reading ----


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts paths by the numbers in them: 8 before 16."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def find_runs(
    folders: Iterable[Path], marker: str = "run.json", what: str = "run", command: str = "tmem eval BENCH"
) -> list[Path]:
    """Every run at or below these folders, once. Raises :class:`DataError` for a folder without any.

    ``marker`` is the file that each has; ``command`` makes one.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        runs = sorted((path.parent for path in folder.rglob(marker)), key=_by_number)
        if not runs:
            raise DataError(f"{folder}: no {what} in it (no {marker}); make one with {command} --out {folder}")
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def load_run(folder: Path) -> Run:
    """Read a run. Raises :class:`DataError` for a damaged file, naming the line."""
    about = read_json(folder / "run.json")
    whole = isinstance(about, dict) and all(type(about.get(key)) is kind for key, kind in ABOUT.items())
    if not whole or "budget" not in about["settings"]:
        raise DataError(f"{folder / 'run.json'}: does not describe a run of tmem eval; give another folder")
    episodes: dict[Any, dict[str, Any]] = {}
    questions: dict[Any, dict[str, Any]] = {}
    for where, record in read_lines(folder, "records-*.jsonl"):
        if record.get("type") == "episode" and record.keys() >= EPISODE:
            episodes.setdefault((record["memory"], record["seed"], *record["questions"]), record)
        elif record.get("type") == "question" and record.keys() >= QUESTION:
            questions.setdefault((record["memory"], record["seed"], record["id"]), record)
        else:
            raise DataError(f"{where} is not a record of this version of tmem; run the evaluation with another --out")
    for question in questions.values():
        question["values"] = stats.by_measure(question["scores"])
        # Tasks of CL-bench that share a context are episodes of their own, but not independent.
        question["cluster"] = question["judging"].get("context_id", question["episode"])
    return Run(
        str(folder),
        about,
        [episodes[key] for key in sorted(episodes, key=_place)],
        [questions[key] for key in sorted(questions, key=_place)],
        _add_judgements(folder, questions),
    )


def _place(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """What records are sorted by: the memory's place, then everything else, so that no order of files matters."""
    return (stats.ORDER.index(key[0]) if key[0] in stats.ORDER else len(stats.ORDER), *key)


def _add_judgements(folder: Path, questions: dict[Any, dict[str, Any]]) -> list[dict[str, Any]]:
    """Add what judges said to the questions' values; returns one account per judge, with its calibration if known.

    Of several judgements of an answer the last counts, and of a judge only those under its last prompts. One that
    failed or cannot be read is a wrong answer; an answer that was not judged has no value, nor has one that was
    generated anew since.
    """
    verdicts: dict[str, dict[Any, dict[str, Any]]] = {}
    prompts: dict[str, Any] = {}
    asked: dict[str, Judge | None] = {}
    for where, judgement in read_lines(folder, "judgements-*.jsonl"):
        if not {"id", "memory", "seed", "score", "failed", "judge_model"} <= judgement.keys():
            raise DataError(f"{where} is not a judgement of this version of tmem; judge the answers again")
        model, template = judgement["judge_model"], judgement.get("template_sha256")
        if model not in verdicts or prompts[model] != template:
            verdicts[model], prompts[model] = {}, template
            asked[model] = recorded_judge(folder, model, template)
        key = judgement["memory"], judgement["seed"], judgement["id"]
        judge = asked[model]
        if key in questions and (judge is None or fits(judgement, questions[key], judge)):
            verdicts[model][key] = judgement
    calibrations = {}
    for path in sorted(folder.glob("calibration-*.json")):
        rates = read_json(path)
        if not isinstance(rates, dict) or not {"judge_model", "false_accept", "false_reject"} <= rates.keys():
            raise DataError(f"{path}: not a calibration of this version of tmem; calibrate the judge again")
        calibrations[rates["judge_model"]] = rates
    judges = []
    for model, own in sorted(verdicts.items()):
        partly = any(judgement.get("satisfied", judgement["score"]) != judgement["score"] for judgement in own.values())
        for key, judgement in own.items():
            questions[key]["values"][f"judge {model} accuracy"] = 100.0 * judgement["score"]
            if partly:
                questions[key]["values"][f"judge {model} rubrics"] = 100.0 * judgement["satisfied"]
        rates = calibrations.get(model, {})
        if rates.get("template_sha256", prompts[model]) != prompts[model]:
            rates = {}
        judges.append(
            {
                "model": model,
                "template_sha256": prompts[model],
                "judged": len(own),
                "of": len(questions),
                "failed": sum(judgement["failed"] for judgement in own.values()),
                "unreadable": sum(judgement.get("unreadable", False) for judgement in own.values()),
                "false_accept": rates.get("false_accept"),
                "false_reject": rates.get("false_reject"),
            }
        )
    return judges


# ---- one run ----


def make_report(folders: Sequence[Path]) -> dict[str, Any]:
    """Everything that the runs in these folders say. Raises :class:`DataError` if they say nothing."""
    loaded = [load_run(folder) for folder in find_runs(folders)]
    if not any(run.questions for run in loaded):
        raise DataError(f"{loaded[0].folder}: nothing is recorded yet; wait for its first episode, or start it again")
    runs = [describe(run) for run in loaded]
    found = compare([run for run in runs if run["headline"]])
    return {"runs": runs, "across": found | {"comparisons": _apart(loaded, runs)}}


def describe(run: Run) -> dict[str, Any]:
    """One run: what was run, what it scored and cost, and what to know before believing it.

    Scores are 0 to 100 but for sums over sub-questions; a measure is "SCORER METRIC", and ``headline`` those of the
    first scorer, or of the judge where nothing else scores.
    """
    measures = list(dict.fromkeys(measure for question in run.questions for measure in question["values"]))
    headline = [m for m in measures if m.rpartition(" ")[0] == measures[0].rpartition(" ")[0]]
    scorers = list(run.questions[0]["scores"]) if run.questions else []
    answerable = [question for question in run.questions if not stats.unanswerable(question)]
    subsets = {ALL: run.questions}
    if 0 < len(answerable) < len(run.questions):
        subsets[NO_ABSTENTION if run.about["bench"] == "longmemeval" else ANSWERABLE] = answerable
    memories = list(dict.fromkeys(question["memory"] for question in run.questions))
    return {
        "folder": run.folder,
        "about": run.about,
        "seeds": sorted({question["seed"] for question in run.questions}),
        "conversations": len({question["cluster"] for question in run.questions}),
        "questions": len({(question["seed"], question["id"]) for question in run.questions}),
        "measures": measures,
        "headline": headline,
        "judges": run.judges,
        "coverage": stats.coverage(run.questions, fresh=run.about["bench"] == "persona"),
        "warnings": stats.warnings({memory: run.of(memory) for memory in memories}),
        "constants": {name: stats.best_constants(own, scorers, run.about["bench"]) for name, own in subsets.items()},
        "memories": {memory: _memory(run, memory, subsets, measures, headline) for memory in memories},
        "comparisons": _comparisons(run, memories, headline),
    }


def _memory(
    run: Run, memory: str, subsets: dict[str, list[dict[str, Any]]], measures: list[str], headline: list[str]
) -> dict[str, Any]:
    episodes, questions = run.of(memory)
    judged = [measure for measure in measures if measure.endswith(" accuracy")]
    return {
        "taught": is_taught(run.about, memory),
        "scores": {
            name: _estimates([question for question in own if question["memory"] == memory], measures)
            for name, own in subsets.items()
        },
        "by_category": {
            kind: _estimates([question for question in questions if question["category"] == kind], measures)
            for kind in sorted({question["category"] for question in questions})
        },
        "cost": stats.costs(episodes, questions),
        "extraction": stats.extraction(episodes),
        "retention": stats.retention(questions, headline[0]) if headline else [],
        "losses": stats.losses(episodes),
        "judged": {m: stats.judged(questions, m) for m in judged} if run.about["bench"] == "longmemeval" else {},
    }


def _estimates(questions: list[dict[str, Any]], measures: list[str]) -> dict[str, stats.Estimate]:
    scores = {measure: stats.scored(questions, measure).values() for measure in measures}
    return {measure: stats.estimate(own) for measure, own in scores.items() if own}


def _comparisons(run: Run, memories: list[str], headline: list[str]) -> list[dict[str, Any]]:
    """Every memory against those before it, on the questions that both answered."""
    scored = [_scored(run, memory, headline) for memory in memories]
    return _compared((first, second) for second, first in combinations(scored, 2))


def _scored(run: Run, memory: str, headline: list[str]) -> Scored:
    _, questions = run.of(memory)
    return memory, {measure: stats.scored(questions, measure) for measure in headline}


def _compared(pairs: Iterable[tuple[Scored, Scored]]) -> list[dict[str, Any]]:
    """What the first of each pair scored more than the second."""
    found = []
    for (first, own), (second, others) in pairs:
        measured = {measure: stats.compare(scores, others[measure]) for measure, scores in own.items()}
        if measured and all(measured.values()):
            found.append({"first": first, "second": second, "measures": measured})
    return found


def _apart(loaded: Sequence[Run], runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Memories in a folder of their own, for they find notes otherwise, against those of the same model and data."""
    found = []
    for (one, a), (other, b) in combinations(zip(loaded, runs, strict=True), 2):
        if not same_but_for_retrieval(a, b) or a["headline"] != b["headline"]:
            continue
        old = [_scored(one, memory, a["headline"]) for memory in a["memories"] if memory not in b["memories"]]
        new = [_scored(other, memory, a["headline"]) for memory in b["memories"] if memory not in a["memories"]]
        if compared := _compared(product(new, old)):
            taught = {name: {"taught": own["taught"]} for run in (a, b) for name, own in run["memories"].items()}
            title = f"{b['folder']} against {a['folder']}"
            found.append({"title": title, "headline": a["headline"], "memories": taught, "comparisons": compared})
    return found


# ---- the page ----

INTRODUCTION = (
    "Agents read long streams under a small working context and answer questions in the end. They differ in their "
    "memory: what they keep of what they have read. This page shows how well each memory answers, what it costs, and "
    "how sure that is."
)


def write_page(report: dict[str, Any], path: Path) -> None:
    """Write the report as one HTML file that needs nothing else, no network and no script.

    Raises :class:`UsageError` without the extra ``eval`` and :class:`DataError` if the file cannot be written.
    """
    shown = [(section, figures) for section, figures in _parts(report) if section.facts or section.tables]
    write(path, "TMEM evaluation report", INTRODUCTION, shown)


def write_figures(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write the page's figures as SVG files, ``1-scores.svg`` and so on; errors as :func:`write_page`."""
    return save([figure for _, own in _parts(report) for figure in own], folder)


def _parts(report: dict[str, Any]) -> list[tuple[Section, list[Figure]]]:
    """What the page shows: runs beside each other, then each on its own."""
    alone = {group["runs"][0]["folder"]: group for group in report["across"]["models"] if len(group["runs"]) == 1}
    parts = [(overview(report["across"]), overview_figures(report["across"]))]
    return parts + [(run_section(run), run_figures(run, alone.get(run["folder"]))) for run in report["runs"]]
