"""Judging the answers of a recorded run: nothing is generated again, and an interrupted judging goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tmem.errors import DataError, UsageError
from tmem.evaluation.judging.calibration import calibrate
from tmem.evaluation.judging.endpoint import Endpoint
from tmem.evaluation.judging.judge import (
    ROUTES,
    ClBenchJudge,
    Judge,
    Judgement,
    LongMemEvalJudge,
    Record,
    judge_account,
    judge_records,
    prompt_sha256,
    template_sha256,
)
from tmem.evaluation.records.files import read_lines
from tmem.files import append_line, read_json, write_json

JUDGES: dict[str, Callable[[], Judge]] = {"longmemeval": LongMemEvalJudge, "clbench": ClBenchJudge}


def judge_run(
    folder: Path,
    endpoint: Endpoint,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 8,
    max_tokens: int | None = None,
) -> dict[str, Any]:
    """Judge every recorded answer that this judge has not judged yet, and calibrate the judge on known answers.

    Judgements are kept in ``judgements-NAME.jsonl`` beside the records, failed calls and replies that cannot be read
    among them: they count as wrong and are tried again next time. ``judge-NAME.json`` has the judge's prompts,
    ``calibration-NAME.json`` its rates once every known answer has a verdict. ``max_tokens``: of a verdict, more than
    usual for a judge that thinks first. Raises :class:`DataError` for a folder without a run of a judged benchmark and
    :class:`RefusedError` for an endpoint that will never answer; one that is down is waited for, then its calls fail.
    """
    bench = _bench(folder)
    if bench not in JUDGES:
        raise UsageError(f"{folder}: {bench} has no judge, only {' and '.join(JUDGES)} have")
    judge = JUDGES[bench]()
    if max_tokens is not None:
        judge.max_tokens = max_tokens
    questions = _questions(folder)
    prompts = {_key(record): prompt_sha256(judge.prompt(record)) for record in questions}
    template = template_sha256(judge)
    name = file_name(endpoint.model)
    path = folder / f"judgements-{name}.jsonl"
    # Of another judge, under other prompts or about another answer, a judgement says nothing.
    fitting = {
        _key(judgement): judgement
        for where, judgement in read_lines(folder, path.name)
        if _whole(judgement, where)
        and (judgement["judge_model"], judgement["template_sha256"]) == (endpoint.model, template)
        and judgement["prompt_sha256"] == prompts.get(_key(judgement))
    }
    judged = {key: one for key, one in fitting.items() if not (one["failed"] or one.get("unreadable", False))}
    todo = [record for record in questions if _key(record) not in judged]
    rates = folder / f"calibration-{name}.json"
    calibration = _calibration(rates, judge, endpoint)
    warnings = []
    if todo or calibration is None:
        warnings = [text for text in (endpoint.check(judge.max_tokens, judge.temperature),) if text]
        if "temperature" in endpoint.refused:
            warnings.append(
                f"{endpoint.model} takes no temperature but its own: the same answer may be judged otherwise"
            )
        account = judge_account(judge, endpoint) | {"templates": judge.templates}
        write_json(folder / f"judge-{name}.json", account)

    def keep(judgement: Judgement) -> None:
        judged[_key(asdict(judgement))] = asdict(judgement)
        append_line(path, json.dumps(asdict(judgement) | {"template_sha256": template}, ensure_ascii=False))
        if progress is not None:
            progress(len(judged), len(questions))

    judge_records(todo, judge, endpoint, keep, workers)
    if calibration is None:
        calibration = calibrate(judge, endpoint, workers)
        if not calibration["failed"]:
            write_json(rates, calibration)
    failed = [judgement for judgement in judged.values() if judgement["failed"]]
    if failed:
        warnings.append(
            f"{len(failed)} of {len(questions)} answers got no verdict and count as wrong, the same command tries them "
            f"again; the last: {failed[-1]['reason']}"
        )
    return {
        "bench": bench,
        "judge_model": endpoint.model,
        "judge_url": endpoint.url,
        "template_sha256": template,
        "memories": _by_memory(questions, judged, bench == "longmemeval"),
        "calibration": calibration,
        "warnings": warnings,
    }


def recorded_judge(folder: Path, model: str, template: str | None) -> Judge | None:
    """The judge of a run's judgements with the prompts of this hash; None where nobody has these prompts any more."""
    bench = _bench(folder)
    if bench not in JUDGES:
        return None
    judge = JUDGES[bench]()
    path = folder / f"judge-{file_name(model)}.json"
    if template != template_sha256(judge) and path.is_file():
        account = read_json(path)
        if not isinstance(account, dict) or not isinstance(account.get("templates"), dict):
            raise DataError(f"{path}: not a judge of this version of tmem; remove the file and judge again")
        judge.templates = account["templates"]
    return judge if template == template_sha256(judge) else None


def fits(judgement: Record, record: Record, judge: Judge) -> bool:
    """False for a judgement of another answer than the record's, as after answers were generated anew."""
    try:
        return bool(judgement.get("prompt_sha256") == prompt_sha256(judge.prompt(record)))
    except (DataError, LookupError, TypeError):  # nothing that this judge could have been asked
        return False


def _bench(folder: Path) -> str:
    """The benchmark of a recorded run. Raises :class:`DataError` for any other folder."""
    if not (folder / "run.json").is_file():
        raise DataError(f"{folder}: no run of tmem eval in it (no run.json)")
    about = read_json(folder / "run.json")
    bench = about.get("bench") if isinstance(about, dict) else None
    if not isinstance(bench, str):
        raise DataError(f"{folder / 'run.json'}: does not describe a run of tmem eval; give another folder")
    return bench


def _calibration(path: Path, judge: Judge, endpoint: Endpoint) -> dict[str, Any] | None:
    """The recorded calibration of the same judge, asked in the same way; None if there is none."""
    known = read_json(path) if path.is_file() else None
    account = judge_account(judge, endpoint)
    asked = (account, account | {"temperature": None})  # None where the model was found to take none
    same = isinstance(known, dict) and any(known.items() >= one.items() for one in asked)
    return known if same else None


def _key(record: dict[str, Any]) -> tuple[str, int, str]:
    return record["memory"], record["seed"], record["id"]


def file_name(model: str) -> str:
    """A judge's name in file names: readable, and its own even where letters had to go."""
    readable = re.sub(r"[^\w.-]+", "-", model)[:60]
    return f"{readable}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def _questions(folder: Path) -> list[dict[str, Any]]:
    """The recorded questions. Raises :class:`DataError` for a record that cannot be judged."""
    texts, found = ("memory", "id", "question", "prediction", "category"), []
    for where, record in read_lines(folder, "records-*.jsonl"):
        if record.get("type") != "question":
            continue
        gold, judging = record.get("gold"), record.get("judging")
        whole = all(isinstance(record.get(key), str) for key in texts) and type(record.get("seed")) is int
        if not (whole and isinstance(gold, list) and isinstance(judging, dict) and all(type(g) is str for g in gold)):
            raise DataError(f"{where} is not a record of this version of tmem; run the evaluation again")
        found.append(record)
    return found


def _whole(judgement: dict[str, Any], where: str) -> bool:
    keys = {"memory", "seed", "id", "judge_model", "template_sha256", "prompt_sha256", "failed", "score"}
    if not keys <= judgement.keys():
        raise DataError(f"{where} is not a judgement of this version of tmem; remove the file and judge again")
    return True


def _by_memory(
    questions: list[dict[str, Any]], judged: dict[Any, dict[str, Any]], types: bool
) -> dict[str, dict[str, Any]]:
    """Accuracy 0 to 100 per memory and category; a failed or unreadable judgement is a wrong answer.

    ``official``: the accuracy by the benchmark's own reading of the same replies. ``types``: also LongMemEval's other
    means, the unweighted one of its question types, and questions that cannot be answered apart from the rest.
    """
    memories: dict[str, list[dict[str, Any]]] = {}
    for record in questions:
        memories.setdefault(record["memory"], []).append({**record, **judged[_key(record)]})
    return {memory: _accuracies(own, types) for memory, own in memories.items()}


def _accuracies(own: list[dict[str, Any]], types: bool) -> dict[str, Any]:
    def accuracy(part: list[dict[str, Any]], key: str = "score") -> float | None:
        return 100 * sum(one[key] or 0 for one in part) / len(part) if part else None

    kinds = sorted({one["category"] for one in own})
    row: dict[str, Any] = {
        "n": len(own),
        "accuracy": accuracy(own),
        "official": accuracy(own, "official"),
        "failed": sum(one["failed"] for one in own),
        "unreadable": sum(one["unreadable"] for one in own),
        "by_category": {kind: accuracy([one for one in own if one["category"] == kind]) for kind in kinds},
    }
    if types:
        by_type = [[one for one in own if one["judging"].get("question_type") == kind] for kind in ROUTES]
        means = [mean for part in by_type if (mean := accuracy(part)) is not None]
        row["task_average"] = sum(means) / len(means)
        row["abstention"] = accuracy([one for one in own if "_abs" in one["id"]])
        row["without_abstention"] = accuracy([one for one in own if "_abs" not in one["id"]])
    return row
