"""The memory that a whole LongMemEval run takes on top of the model: reading, packing, prompts, records, report.

    python benchmarks/longmemeval_memory.py

Generates a file of LongMemEval-S's size (500 questions, 277 MB) and answers every question with every memory, replies
coming from a script. Prints the peak of resident memory at each stage. A-MEM (two calls and a search for each of
250,000 turns) is left out unless it is named.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from scripted import ScriptedSpec, make_model

from tmem.evaluation.records.files import Records
from tmem.evaluation.reporting.report import make_report
from tmem.evaluation.runner import run
from tmem.model import load
from tmem.tasks.longmemeval import TYPES

BYTES, QUESTIONS, SESSIONS = 277_383_467, 500, 48
KEYS = ("question_id", "question_type", "question", "answer", "question_date")


def vocabulary(rng: random.Random) -> list[str]:
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    return ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(20_000)]


def sentence(rng: random.Random, words: list[str], characters: int) -> str:
    """Words of which some are frequent and most are rare, as in a language."""
    chosen = [words[int(len(words) * rng.random() ** 3)] for _ in range(characters // 6)]
    return " ".join(chosen)[:characters]


def instance(number: int, rng: random.Random, words: list[str]) -> dict[str, Any]:
    """One question with its history, no two turns of which are the same."""
    size = BYTES / QUESTIONS / SESSIONS / 10  # characters of a turn, with what JSON takes around it
    sessions = [
        [
            {"role": role, "content": sentence(rng, words, int(size * share) - 44)}
            for _ in range(5)
            for role, share in (("user", 0.4), ("assistant", 1.6))
        ]
        for _ in range(SESSIONS)
    ]
    names = [f"s{number}-{i}" for i in range(SESSIONS)]
    texts = (
        f"q{number}",
        TYPES[number % len(TYPES)],
        sentence(rng, words, 60),
        words[number],
        "2023/06/01 (Thu) 10:00",
    )
    return dict(zip(KEYS, texts, strict=True)) | {
        "haystack_session_ids": names,
        "haystack_dates": [f"2023/05/{day % 28 + 1:02d} (Mon) {day % 24:02d}:00" for day in range(SESSIONS)],
        "haystack_sessions": sessions,
        "answer_session_ids": names[:1],
    }


def instances(count: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(1)
    words = vocabulary(rng)
    return (instance(number, rng, words) for number in range(count))


def peak() -> int:
    """The most memory that this process has had so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # kB on Linux


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--memory", nargs="+", default=["none", "tail", "full", "memagent", "rag", "tmem", "tmem+explicit"]
    )
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        data, folder, out = (Path(temporary) / name for name in ("data.json", "model", "out"))
        with open(data, "w") as file:
            for number, record in enumerate(instances(args.questions)):
                file.write("[" if number == 0 else ",\n")
                json.dump(record, file)
            file.write("]")
        make_model(
            folder, (turn["content"] for record in instances(4) for s in record["haystack_sessions"] for turn in s)
        )
        model = load(folder)
        print(json.dumps({"file MB": round(data.stat().st_size / 1e6), "peak MB before": peak()}), flush=True)
        spec = ScriptedSpec("longmemeval", {"path": data}, str(folder))
        for memory in args.memory:
            started = time.perf_counter()
            run(spec, model, [memory], [1], out)
            seconds = round(time.perf_counter() - started)
            print(json.dumps({"memory": memory, "peak MB": peak(), "seconds": seconds}), flush=True)
        records = Records(out, 0)
        make_report([out])
        print(json.dumps({"questions": len(records.done), "records MB": records_size(out), "peak MB in all": peak()}))
    if peak() > 1000:
        sys.exit("more than 1 GB")


def records_size(folder: Path) -> int:
    return round(sum(path.stat().st_size for path in folder.glob("records-*.jsonl")) / 1e6)


if __name__ == "__main__":
    main()
