"""Everything about LoCoMo but the model: every memory reads all ten conversations and is asked all 1,986 questions.

    python benchmarks/locomo_dry.py locomo10.json

Packing, prompts, writes of nothing, post-processing and scoring are real; replies come from a script ("[]" for
extractions, "No information available" for the rest), the tokenizer is trained on the spot and has about Qwen's
token count. Prints what each memory would cost, and checks two known scores of the file: of its own golds, and of the
constant answer. Two processes take the memories in turn.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from scripted import CONSTANT, Script, ScriptedSpec, make_model

from tmem.evaluation.records.episode import episode_records
from tmem.model import load
from tmem.policies import MEMORIES
from tmem.tasks.locomo import LoCoMo
from tmem.tasks.scoring import SCORERS


def dry(memory: str, folder: Path, data: Path) -> dict[str, Any]:
    """One memory over the whole file."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    model = load(folder)
    spec = ScriptedSpec("locomo", {"path": data}, str(folder))
    bench, agent = spec.benchmark(model), spec.agent(model, memory, 1)
    tasks = {task.episode.id: task for task in bench.tasks(1)}
    triggers = episodes = 0
    scores: list[dict[str, Any]] = []
    for _, trajectory in agent.stream(task.episode for task in tasks.values()):
        triggers, episodes = triggers + trajectory.triggers, episodes + 1
        records = episode_records(bench, tasks[trajectory.episode], trajectory, agent)
        scores += [record["scores"] for record in records if record["type"] == "question"]
    script = agent.engine
    assert isinstance(script, Script)
    return {
        "memory": memory,
        "questions": len(scores),
        "episodes": episodes,
        "triggers": triggers,
        "calls": script.calls,
        "prompt tokens": script.tokens,
        "longest prompt": script.longest,
        "F1": round(100 * sum(score["tmem_token"]["f1"] for score in scores) / len(scores), 2),
        "seconds": round(time.perf_counter() - started, 1),
    }


def known_scores(data: Path) -> dict[str, float]:
    """The gold answers as predictions, and a constant answer, scored by every rule."""
    items = [item for task in LoCoMo(data, official=True).tasks(1) for item in task.items]

    def total(scorer: str, key: str, constant: str | None) -> float:
        found = [SCORERS[scorer](constant or item.gold[0], item.gold, item.category) for item in items]
        return round(100 * sum(getattr(score, key) for score in found) / len(found), 2)

    return {
        "golds, official": total("locomo_official", "f1", None),
        "constant, official": total("locomo_official", "f1", CONSTANT),
        "constant, F1": total("tmem_token", "f1", CONSTANT),
        "constant, EM": total("tmem_token", "em", CONSTANT),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--memory", nargs="+", default=[name for name in MEMORIES if name != "mem1"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", type=Path, help="keep the model in this folder, for runs of tmem eval; made once")
    args = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model or Path(temporary)
        if not (folder / "config.json").exists():
            make_model(
                folder, (text for task in LoCoMo(args.data, official=True).tasks(1) for text in task.episode.units)
            )
        with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as dataset:
            jobs = [dataset.submit(dry, memory, folder, args.data) for memory in args.memory]
            for job in jobs:
                print(json.dumps(job.result()), flush=True)
    print(json.dumps(known_scores(args.data)))
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
