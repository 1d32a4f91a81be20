"""Figures with their uncertainty, from recorded questions and episodes.

Questions about one conversation share its text and its memory, so their scores do not vary independently. Intervals
therefore come from drawing whole conversations with replacement (percentile interval of a cluster bootstrap).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from tmem.evaluation.records.episode import extraction_scores, score_all
from tmem.evaluation.records.spec import BENCHMARKS
from tmem.evaluation.records.summary import mean
from tmem.policies import ABLATIONS, MEMORIES
from tmem.seeds import derive
from tmem.tasks.base import Gold, Item
from tmem.tasks.told import Told
from tmem.texts import NO_INFORMATION

RESAMPLES = 2000
LEVEL = 0.95
ORDER = [*MEMORIES, *ABLATIONS]  # of memories, in tables and figures
Record = Mapping[str, Any]


class Score(NamedTuple):
    """The score of one question; those of one ``cluster`` (a conversation) are not independent."""

    seed: int
    cluster: str
    value: float


class Estimate(TypedDict):
    """A mean over ``n`` questions. ``sd``: of the seeds' means, None for one seed. ``low`` to ``high``: its interval,
    None if there is only one conversation."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


class Comparison(Estimate):
    """How much better the first of two memories is, question by question. ``clear``: the interval excludes 0."""

    wins: int
    ties: int
    losses: int
    clear: bool


def estimate(scores: Collection[Score]) -> Estimate:
    """The mean of at least one score with its uncertainty; every question counts the same."""
    values = np.array([score.value for score in scores])
    seeds = sorted({score.seed for score in scores})
    by_seed = [mean(score.value for score in scores if score.seed == seed) for seed in seeds]
    low, high = _interval(values, [score.cluster for score in scores])
    return {
        "n": len(scores),
        "mean": float(values.mean()),
        "sd": float(np.std(by_seed, ddof=1)) if len(seeds) > 1 else None,
        "low": low,
        "high": high,
    }


def _interval(values: NDArray[np.float64], clusters: Sequence[str]) -> tuple[float, float] | tuple[None, None]:
    names, cluster = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        return None, None
    drawn = _draws(len(names))
    # (resamples, clusters) @ (clusters,): sums and numbers of questions of every resample
    means = (drawn @ np.bincount(cluster, values)) / (drawn @ np.bincount(cluster))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@lru_cache(maxsize=8)
def _draws(count: int) -> NDArray[np.float64]:
    """How often each of ``count`` clusters is in each resample: (resamples, count), the same every time."""
    random = np.random.default_rng(derive("report", "bootstrap", count))
    return random.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)


def compare(first: Mapping[Any, Score], second: Mapping[Any, Score]) -> Comparison | None:
    """Two memories on the questions (keys) that both answered, None if there are none."""
    shared = [key for key in first if key in second]
    if not shared:
        return None
    differences = [first[key]._replace(value=first[key].value - second[key].value) for key in shared]
    found = estimate(differences)
    low, high = found["low"], found["high"]
    return {
        **found,
        "wins": sum(difference.value > 0 for difference in differences),
        "ties": sum(difference.value == 0 for difference in differences),
        "losses": sum(difference.value < 0 for difference in differences),
        "clear": low is not None and high is not None and (low > 0 or high < 0),
    }


# ---- what the records of a run say; "values" (scores by measure) and "cluster" are the report's ----


def scored(questions: Iterable[Record], measure: str) -> dict[tuple[int, str], Score]:
    """The scores of those questions that have the measure, by seed and id."""
    return {
        (q["seed"], q["id"]): Score(q["seed"], q["cluster"], q["values"][measure])
        for q in questions
        if measure in q["values"]
    }


def unanswerable(question: Record) -> bool:
    """Whether nothing that was read is the answer: adversarial questions, and LongMemEval's abstention questions."""
    return question["category"] == "adversarial" or bool(question["judging"].get("abstention"))


def judged(questions: Sequence[Record], measure: str) -> dict[str, float | None]:
    """LongMemEval's means of a judge's accuracy, 0 to 100, None for one without a judged question.

    ``task_average``: the unweighted mean of the question types; ``abstention``: of what cannot be answered.
    """
    own = [question for question in questions if measure in question["values"]]

    def accuracy(part: Sequence[Record]) -> float | None:
        return mean(question["values"][measure] for question in part) if part else None

    by_type = [accuracy([q for q in own if q["category"] == kind]) for kind in sorted({q["category"] for q in own})]
    return {
        "accuracy": accuracy(own),
        "task_average": mean(value for value in by_type if value is not None) if own else None,
        "abstention": accuracy([question for question in own if unanswerable(question)]),
        "without_abstention": accuracy([question for question in own if not unanswerable(question)]),
    }


def best_constants(questions: Iterable[Record], scorers: Sequence[str], bench: str = "") -> dict[str, dict[str, Any]]:
    """What the best of four answers scores, by measure, if it is given to every question: a floor for any memory.

    The four are "No information available", "Yes", "No" and the most frequent gold; of several questions at once
    each gets the same answer. ``bench``: where a refusal of what was said counts as no answer, it does so here.
    """
    if not scorers:
        return {}
    blanks = getattr(BENCHMARKS.get(bench), "prediction", None) is Told.prediction
    items = {q["id"]: (_gold(q["gold"]), q["category"], blanks and q["age"] is not None) for q in questions}
    golds = Counter(answer for gold, _, _ in items.values() for answer in _first_answers(gold))
    best: dict[str, dict[str, Any]] = {}
    for answer in dict.fromkeys([NO_INFORMATION, "Yes", "No", *(gold for gold, _ in golds.most_common(1))]):
        totals: dict[str, list[float]] = defaultdict(list)
        for gold, category, blank in items.values():
            given = "" if blank and answer == NO_INFORMATION else answer
            for measure, value in _constant_scores(tuple(scorers), given, gold, category).items():
                totals[measure].append(value)
        for measure, values in totals.items():
            if measure not in best or mean(values) > best[measure]["mean"]:
                best[measure] = {"answer": answer, "mean": mean(values)}
    return best


def _gold(gold: Any) -> Gold:
    """A gold as benchmarks have it: JSON makes lists of tuples."""
    return tuple(tuple(answers) if isinstance(answers, list) else answers for answers in gold)


def _first_answers(gold: Gold) -> list[str]:
    """The first accepted answer of every question that is asked at once."""
    if isinstance(gold[0], str):
        return [gold[0]]
    return [answers[0] for answers in gold]


@cache
def _constant_scores(scorers: tuple[str, ...], answer: str, gold: Gold, category: str) -> dict[str, float]:
    reply = "; ".join([answer] * len(_first_answers(gold)))
    return by_measure(score_all(scorers, reply, Item("", "", gold, category)))


def by_measure(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Recorded scores as ``{"SCORER f1": ..., "SCORER em": ...}``, 0 to 100; sums over sub-questions stay sums."""
    return {
        f"{scorer} {metric}": value if metric.endswith("_sum") else 100 * value
        for scorer, own in scores.items()
        for metric, value in own.items()
    }


BUILDING = ("triggers", "llm_calls", "prompt_tokens", "new_tokens", "trained_tokens")  # what a reading takes


def costs(episodes: Sequence[Record], questions: Sequence[Record]) -> dict[str, Any]:
    """Means per rollout (one reading of a conversation) of building the memory, and per question of answering from it.

    ``tokens_per_question``: all tokens of both, prompts and outputs, over the number of questions;
    ``trained_per_question``: the tokens that weights were trained on, as often as there were epochs.
    """
    builds = [episode["build"] for episode in episodes]
    answers = [question["answer"] for question in questions]
    phases = sorted({phase for build in builds for phase in build["seconds"]})
    units = sorted({unit for episode in episodes for unit in episode["memory_size"]})
    tokens = sum(part["prompt_tokens"] + part["new_tokens"] for part in [*builds, *answers])
    return {
        "rollouts": len(episodes),
        "conversations": len({episode["episode"] for episode in episodes}),
        "build": {
            **{key: mean(b[key] for b in builds) for key in BUILDING},
            "seconds": {phase: mean(build["seconds"].get(phase, 0.0) for build in builds) for phase in phases},
        },
        "memory_size": {unit: mean(episode["memory_size"].get(unit, 0) for episode in episodes) for unit in units},
        "answer": {
            key: mean(answer[key] for answer in answers)
            for key in ("llm_calls", "prompt_tokens", "new_tokens", "seconds")
        },
        "tokens_per_question": tokens / max(len(questions), 1),
        "trained_per_question": sum(build["trained_tokens"] for build in builds) / max(len(questions), 1),
    }


def extraction(episodes: Sequence[Record]) -> dict[str, Any] | None:
    """What became of the extractions of a memory that writes, None for others.

    Recall, precision and the share of valid JSON only where the benchmark has gold facts.
    """
    writes = [write for episode in episodes for write in episode["writes"]]
    if not writes:
        return None
    counts = [episode["extraction"] for episode in episodes if episode["extraction"] is not None]
    return {
        "writes": len(writes),
        "applied": sum(write["applied"] for write in writes),
        "pairs_per_write": mean(len(write["pairs"]) for write in writes),
        "status": dict(Counter(write["status"] for write in writes).most_common()),
        "dropped": dict(Counter(reason for write in writes for reason, _ in write["dropped"]).most_common()),
        "not_applied": dict(Counter(str(write["reason"]) for write in writes if not write["applied"]).most_common()),
        **(extraction_scores(counts) if counts else {}),
    }


def retention(questions: Iterable[Record], measure: str) -> list[dict[str, Any]]:
    """The measure by the age of what is asked for: units read since, in ranges that double (0, 1, 2-3, 4-7, ...).

    Questions that cannot be answered are left out: nothing in the stream is their answer.
    """
    ranges: dict[int, list[Record]] = defaultdict(list)
    for question in questions:
        age = question["age"]
        if age is not None and not unanswerable(question) and measure in question["values"]:
            ranges[1 << (age.bit_length() - 1) if age else 0].append(question)
    return [
        {"age": str(start) if start < 2 else f"{start}-{2 * start - 1}", **estimate(scored(own, measure).values())}
        for start, own in sorted(ranges.items())
    ]


def losses(episodes: Iterable[Record]) -> list[dict[str, Any]]:
    """Mean loss on new pairs in the first and in the last epoch of the first, second, ... write of a rollout."""
    by_number: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for episode in episodes:
        for number, write in enumerate(episode["writes"], start=1):
            ends = (write["new_loss"] or [math.nan])[0], (write["new_loss"] or [math.nan])[-1]
            if write["applied"] and all(map(math.isfinite, ends)):
                by_number[number].append(ends)
    return [
        {"write": number, "n": len(own), "first": mean(a for a, _ in own), "last": mean(b for _, b in own)}
        for number, own in sorted(by_number.items())
    ]


# ---- what a reader has to know before believing the figures ----


def coverage(questions: Iterable[Record], fresh: bool) -> list[str]:
    """One line for every memory and seed that lacks questions. ``fresh``: every seed has questions of its own."""
    have: dict[tuple[str, int], set[str]] = defaultdict(set)
    asked: dict[int | None, set[str]] = defaultdict(set)
    for question in questions:
        have[question["memory"], question["seed"]].add(question["id"])
        asked[question["seed"] if fresh else None].add(question["id"])
    lines = []
    for memory in dict.fromkeys(memory for memory, _ in have):
        for seed in sorted({seed for _, seed in have}):
            missing = len(asked[seed if fresh else None] - have.get((memory, seed), set()))
            if missing:
                total = len(asked[seed if fresh else None])
                lines.append(f"{memory}, seed {seed}: {missing} of {total} questions are missing")
    return lines


def warnings(memories: Mapping[str, tuple[Sequence[Record], Sequence[Record]]]) -> list[str]:
    """One line for everything that makes figures mean something else than they seem to.

    ``memories``: episodes and questions of each.
    """
    failed, unused, bypassed, cut_short, left_out, cut_off = [], [], [], [], [], []
    for memory, (episodes, questions) in memories.items():
        policy = MEMORIES.get(memory) or ABLATIONS.get(memory)
        if why := [episode["failed"] for episode in episodes if episode.get("failed")]:
            failed.append(f"{memory} {len(why):,} of {len(episodes):,} (first: {why[0]})")
        count = sum(not episode["build"]["triggers"] for episode in episodes)
        if policy is not None and policy.packs and count:
            unused.append(f"{memory} {count:,} of {len(episodes):,}")
        sizes = [episode["memory_size"] for episode in episodes if episode["memory_size"].get("notes")]
        if count := sum(size.get("shown") == size["notes"] for size in sizes):
            bypassed.append(f"{memory} {count:,} of {len(sizes):,}")
        if count := sum(episode["cut_short"] > 0 for episode in episodes):
            cut_short.append(f"{memory} {count:,} of {len(episodes):,}")
        if count := sum(question["left_out"] > 0 for question in questions):
            left_out.append(f"{memory} {count:,} of {len(questions):,}")
        if count := sum(question["answer"]["finish"] == "length" for question in questions):
            cut_off.append(f"{memory} {count:,} of {len(questions):,}")
    found = {
        "Episodes that could not be run, all of whose answers count as wrong": failed,
        "Episodes without a trigger: the working context never got full, the memory took nothing in": unused,
        "Episodes in which retrieval chose nothing, as all notes there are were shown": bypassed,
        "Episodes in which not all that was retrieved fitted half of the model's window": cut_short,
        "Answers that did not see the whole history, which does not fit the model's window": left_out,
        "Replies cut off at the longest answer": cut_off,
    }
    return [f"{what}: {', '.join(where)}." for what, where in found.items() if where]
