"""What reinforcement learning gained, on conversations that nothing was trained or chosen on.

    python benchmarks/rl_gain.py --trained out/rl --out out/rl-gain

Every model in ``out/rl/PART-SEED/model`` (runs/rl_persona.sh) and the model that it started from run the same
conversations: seen people on streams as long as in training and twice as long, and people, values and wordings that
were never seen.
Prints a Markdown table per part: scores before and after, and the gain question by question with its 95 % interval over
conversations, the training seeds pooled; beside it the lowest and highest gain of a seed. Then what was extracted, and
how much of what was written comes back when asked for right after its write. Resumable: give the same command again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tmem.agent.agent import Agent
from tmem.evaluation.records.episode import extraction_scores
from tmem.evaluation.records.files import read_records
from tmem.evaluation.records.spec import Spec
from tmem.evaluation.records.summary import mean
from tmem.evaluation.runner import run
from tmem.evaluation.stats import Score, compare
from tmem.files import read_json, write_json
from tmem.model import Model, load
from tmem.tasks.scoring import normalize
from tmem.training.measure import recall_after_write

WORLDS = [1, 2]  # seeds of the conversations
Rollouts = dict[int, Sequence[dict[str, Any]]]  # by training seed the records of what it trained


def rolled_out(
    model: str, recipe: str, memory: str, facts: int, people: str, episodes: int, workers: int, folder: Path
) -> list[dict[str, Any]]:
    """The records of a model's rollouts under one condition, first a record of what it could recall."""
    spec = Spec("persona", {"facts": facts, "episodes": episodes, "people": people}, model, recipe, write_tail=True)
    loaded = load(model)
    run(spec, loaded, [memory], WORLDS, folder, episodes, workers)
    records = list(read_records(folder))
    place = folder / "recall.json"
    if not place.exists():
        write_json(place, {"type": "recall", "share": recalled(spec, loaded, memory)})
    return [read_json(place), *records]


def recalled(spec: Spec, model: Model, memory: str) -> float | None:
    """Share of the pairs written in the first world that come back when asked for right after their write."""
    agent: Agent = replace(spec.agent(model, memory, WORLDS[0]), keep_deltas=True)
    if not agent.policy.learns:
        return None
    return recall_after_write(agent, agent.run([task.episode for task in spec.benchmark(model).tasks(WORLDS[0])]))


def scores(records: Sequence[dict[str, Any]], measure: str, seed: int) -> dict[tuple[int, str], Score]:
    """By training seed and question; the cluster is the conversation."""
    questions = [record for record in records if record["type"] == "question"]
    return {(seed, q["id"]): Score(seed, q["episode"], q["scores"]["tmem_token"][measure]) for q in questions}


def extraction(runs: Sequence[Sequence[dict[str, Any]]]) -> str:
    counts = [record["extraction"] for records in runs for record in records if record.get("extraction")]
    if not counts:
        return ""
    found = extraction_scores(counts)
    return f"{found['recall']:.2f} / {found['precision']:.2f}"


def recall(runs: Sequence[Sequence[dict[str, Any]]]) -> float:
    """Share of written pairs whose answer came back word for word right after their write."""
    return mean(records[0]["share"] for records in runs)


def refusals(runs: Sequence[Sequence[dict[str, Any]]]) -> float:
    """Exact match on questions about what was never said."""
    own = [r for records in runs for r in records if r["type"] == "question" and r["category"] == "adversarial"]
    return mean(question["scores"]["tmem_token"]["em"] for question in own)


def row(name: str, before: Sequence[dict[str, Any]], after: Rollouts) -> str:
    cells = [name]
    for measure in ("f1", "em"):
        old = {key: score for seed in after for key, score in scores(before, measure, seed).items()}
        new = {key: score for seed, records in after.items() for key, score in scores(records, measure, seed).items()}
        found = compare(new, old)
        assert found is not None and found["low"] is not None and found["high"] is not None
        by_seed = [100 * mean(new[key].value - old[key].value for key in new if key[0] == seed) for seed in after]
        cells.append(
            f"{100 * mean(s.value for s in old.values()):.1f} → {100 * mean(s.value for s in new.values()):.1f}"
        )
        cells.append(
            f"{100 * found['mean']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
            f" ({min(by_seed):+.1f} to {max(by_seed):+.1f})"
        )
    runs = list(after.values())
    if extraction([before]):
        cells.append(f"{extraction([before])} → {extraction(runs)}")
        cells.append(f"{recall([before]):.2f} → {recall(runs):.2f}")
    else:
        cells += ["", ""]
    cells.append(f"{100 * refusals([before]):.0f} → {100 * refusals(runs):.0f}")
    return "| " + " | ".join(cells) + " |"


def beside(name: str, one: Rollouts, other: Rollouts) -> str:
    """What the first way of training scored more than the second, question by question and training seed by seed."""
    seeds = one.keys() & other.keys()
    cells = [name]
    for measure in ("f1", "em"):
        scored = [{k: s for seed in seeds for k, s in scores(way[seed], measure, seed).items()} for way in (one, other)]
        found = compare(*scored)
        assert found is not None
        cells.append(f"{100 * found['mean']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]")
    return "| " + " | ".join(cells) + " |"


def examples(
    before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], spec: Spec, episodes: int, most: int
) -> list[str]:
    """Rows of pairs that only one of the two models wrote, of the first conversations in which they differ."""
    bench = replace(spec, options=spec.options | {"episodes": episodes}).benchmark(load(spec.model))
    told = {
        task.episode.id: {normalize(fact["question"]): fact["answer"] for fact in task.facts}
        for seed in WORLDS
        for task in bench.tasks(seed)
    }
    rows = []
    for episode, own in written(before).items():
        other, facts = written(after)[episode], told[episode]
        if set(own) == set(other):
            continue
        cells = [
            "<br>".join(f"{question} {answer} {mark(facts, question, answer)}" for question, answer in found) or "none"
            for found in ([pair for pair in own if pair not in other], [pair for pair in other if pair not in own])
        ]
        rows.append(f"| {cells[0]} | {cells[1]} |")
    return rows[:most]


def written(records: Sequence[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """All pairs of every episode, in order."""
    return {
        record["episode"]: [(question, answer) for write in record["writes"] for question, answer in write["pairs"]]
        for record in records
        if record["type"] == "episode"
    }


def mark(facts: dict[str, str], question: str, answer: str) -> str:
    return "✓" if normalize(facts.get(normalize(question), "\0")) == normalize(answer) else "✗"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, default=Path("out/rl"))
    parser.add_argument("--out", type=Path, default=Path("out/rl-gain"))
    parser.add_argument("--episodes", type=int, default=30, help="conversations of each of two worlds")
    parser.add_argument("--workers", type=int, default=1, help="processes, one torch thread each")
    parser.add_argument("--examples", type=int, default=10, help="conversations whose pairs are shown side by side")
    parser.add_argument("--people", nargs="+", choices=["seen", "unseen"], default=["seen", "unseen"])
    parser.add_argument("--facts", nargs="+", type=int, help="of a stream; default: as in training, and twice as many")
    parser.add_argument("--parts", nargs="+", default=["all", "answers", "paper", "memagent", "rag"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    trajectories: dict[str, dict[str, Rollouts]] = {}  # by part and condition
    for part in args.parts:
        folders = sorted(args.trained.glob(f"{part}-[0-9]*"))
        folders = [folder for folder in folders if (folder / "model").is_dir()]
        if not folders:
            print(f"{args.trained}: no trained model of part {part}", file=sys.stderr)
            continue
        about = read_json(folders[0] / "training.json")
        facts, start = about["data"]["facts"], about["spec"]["model"]
        recipe = about["spec"]["recipe"]["name"]  # as it comes, whatever the training changed in it
        for memory in about["memory"].split(","):  # of several every one by itself
            print(f"\n**{part}**: memory `{memory}`, {len(folders)} seeds\n")
            print(
                "| conversations | F1 | gain | EM | gain | extraction recall / precision "
                "| recall after a write | refusals, EM |"
            )
            print("|---|---|---|---|---|---|---|---|")
            shown: list[str] = []
            for people in args.people:
                for length in args.facts or (facts, 2 * facts):
                    condition = (recipe, memory, length, people, args.episodes, args.workers)
                    place = f"{recipe}-{memory}-{length}-{people}"
                    before = rolled_out(start, *condition, args.out / f"start-{place}")
                    after = {
                        int(folder.name.rpartition("-")[2]): rolled_out(
                            str(folder / "model"), *condition, args.out / f"{folder.name}-{place}"
                        )
                        for folder in folders
                    }
                    trajectories.setdefault(part, {})[f"{memory}, {people}, {length} facts"] = after
                    print(row(f"{people}, {length} facts", before, after), flush=True)
                    if people == "seen" and length == facts and memory == "tmem":
                        spec = Spec("persona", {"facts": facts, "people": people}, start, recipe)
                        shown = examples(before, next(iter(after.values())), spec, args.episodes, args.examples)
            if shown:
                print("\n| only before | only after |\n|---|---|", *shown, sep="\n", flush=True)
    for part in ("answers", "paper"):
        if "all" in trajectories and part in trajectories:
            print(f"\n**all** over **{part}**\n\n| conversations | F1 | EM |\n|---|---|---|")
            for name, after in trajectories["all"].items():
                print(beside(name, after, trajectories[part][name]))


if __name__ == "__main__":
    main()
