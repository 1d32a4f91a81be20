"""Judging the answers of a recorded run: nothing is generated again, and an interrupted judging goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tmem.errors import DataError, UsageError
from tmem.evaluation.calibration import calibrate
from tmem.evaluation.endpoint import Endpoint
from tmem.evaluation.judge import ClBenchJudge, Judge, Judgement, LongMemEvalJudge, judge_records, template_sha256
from tmem.evaluation.recordfiles import read_lines, read_records
from tmem.files import append_line, read_json, write_json

JUDGES: dict[str, Callable[[], Judge]] = {"longmemeval": LongMemEvalJudge, "clbench": ClBenchJudge}


def judge_run(
    folder: Path, endpoint: Endpoint, progress: Callable[[int, int], None] | None = None, workers: int = 8
) -> dict[str, Any]:
    """Judge every recorded answer that this judge has not judged yet, and calibrate the judge on known answers.

    Judgements are kept in ``judgements-NAME.jsonl`` beside the records, failed calls among them: they count as wrong
    and are tried again next time. Raises :class:`DataError` for a folder without a run of a judged benchmark.
    """
    if not (folder / "run.json").is_file():
        raise DataError(f"{folder}: no run of tmem eval in it (no run.json)")
    bench = read_json(folder / "run.json")["bench"]
    if bench not in JUDGES:
        raise UsageError(f"{folder}: {bench} has no judge, only {' and '.join(JUDGES)} have")
    judge = JUDGES[bench]()
    endpoint.check(judge.max_tokens, judge.temperature)
    template = template_sha256(judge)
    name = re.sub(r"[^\w.-]+", "-", endpoint.model)
    path = folder / f"judgements-{name}.jsonl"
    judged = {
        _key(judgement): judgement
        for _, judgement in read_lines(folder, path.name)
        if judgement.get("template_sha256") == template  # under other prompts it is another judge
    }
    questions = [record for record in read_records(folder) if record["type"] == "question"]
    todo = [record for record in questions if _key(record) not in judged or judged[_key(record)]["failed"]]

    def keep(judgement: Judgement) -> None:
        judged[_key(asdict(judgement))] = asdict(judgement)
        append_line(path, json.dumps(asdict(judgement) | {"template_sha256": template}, ensure_ascii=False))
        if progress is not None:
            progress(len(judged), len(questions))

    judge_records(todo, judge, endpoint, keep, workers)
    calibration = calibrate(judge, endpoint)
    write_json(folder / f"calibration-{name}.json", calibration)
    return {
        "bench": bench,
        "judge_model": endpoint.model,
        "template_sha256": template,
        "memories": _by_memory(questions, judged),
        "calibration": calibration,
    }


def _key(record: dict[str, Any]) -> tuple[str, int, str]:
    return record["memory"], record["seed"], record["id"]


def _by_memory(questions: list[dict[str, Any]], judged: dict[Any, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Accuracy 0 to 100 per memory; a failed or unreadable judgement is a wrong answer."""
    table: dict[str, dict[str, Any]] = {}
    for record in questions:
        row = table.setdefault(record["memory"], {"n": 0, "accuracy": 0.0, "failed": 0, "unreadable": 0})
        judgement = judged[_key(record)]
        row["n"] += 1
        row["accuracy"] += 100 * judgement["score"]
        row["failed"] += judgement["failed"]
        row["unreadable"] += judgement["unreadable"]
    for row in table.values():
        row["accuracy"] /= row["n"]
    return table
