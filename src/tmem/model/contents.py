"""What a memory holds under a recipe that writes from zero: its pairs in blocks, and a B for each block."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tmem.fastweights import Course, Delta, Lesson, Recipe, WriteAccount, write_fresh
from tmem.fastweights.blocks import block_key, blocks, pair_key
from tmem.model.held import held_questions
from tmem.model.load import Model

Pair = tuple[str, str]  # question and answer
ON_A_CPU = 16  # blocks trained side by side: of more each takes as long, and every pass holds the gradients of all


@dataclass(frozen=True, eq=False)
class Contents:
    """``delta`` has a row for every block; ``blocks`` are their numbers, ``places`` the row of every pair in order."""

    delta: Delta
    blocks: tuple[int, ...] = ()
    places: tuple[int, ...] = ()


def nothing(model: Model, recipe: Recipe) -> Contents:
    """A memory that was told nothing: no block."""
    return Contents(model.fast(recipe).zeros(0))


def lesson(model: Model, recipe: Recipe, pairs: Sequence[Pair], seed: int) -> Lesson:
    """What a block of these pairs is taught: the pairs, and what else may be asked of them."""
    assert recipe.fresh is not None
    asked = model.wordings.beside(pairs, recipe.fresh.asked, random.Random(seed))
    return Lesson([model.example(*pair) for pair in pairs], [model.example(*pair) for pair in asked])


@dataclass(frozen=True)
class Job:
    """A memory to be written: what it holds, the pairs that it is to hold, the last ``new`` of which it never held."""

    before: Contents
    pairs: Sequence[Pair]
    new: int


def write_pairs(model: Model, recipe: Recipe, jobs: Sequence[Job]) -> list[tuple[Contents, WriteAccount]]:
    """Write memories: all their blocks that changed; those that stay as they are keep their B.

    A block's B follows from its pairs alone, up to the rounding of what it is trained together with; to have the same
    bits again, write one memory at a time (its blocks are trained one by one then). Blocks of several are trained side
    by side, on a CPU sixteen at most. A memory with a block that cannot be trained stays as it is, and its account says
    why.
    """
    began = time.perf_counter()
    assert recipe.fresh is not None
    fast, replay = model.fast(recipe), model.replay(recipe)
    held = held_questions(model, recipe) if recipe.fresh.held else None
    plans = [_plan(job, recipe.fresh.block) for job in jobs]
    lessons, seeds = [], []
    for job, (parts, numbers) in zip(jobs, plans, strict=True):
        for part, number in zip(parts, numbers, strict=True):
            if number not in job.before.blocks:
                lessons.append(lesson(model, recipe, job.pairs[part.start : part.stop], number))
                seeds.append(number)
    most = 1 if len(jobs) == 1 else ON_A_CPU if model.device.type == "cpu" else len(lessons)
    deltas, courses = [fast.zeros(0)], []
    for start in range(0, len(lessons), max(most, 1)):
        now = slice(start, start + most)
        delta, own = write_fresh(fast, lessons[now], recipe, seeds[now], replay, held)
        deltas.append(delta)
        courses += own
    trained = Delta.cat(deltas)
    seconds, done, found = time.perf_counter() - began, 0, []
    for job, (parts, numbers) in zip(jobs, plans, strict=True):
        fresh = [number for number in numbers if number not in job.before.blocks]
        own, rows = courses[done : done + len(fresh)], list(range(done, done + len(fresh)))
        done += len(fresh)
        reason = next((course.reason for course in own if course.reason is not None), None)
        after = job.before
        if reason is None:
            both = Delta.cat([job.before.delta.to(model.device), trained.select(rows)])
            known = [*job.before.blocks, *fresh]
            places = tuple(row for row, part in enumerate(parts) for _ in part)
            after = Contents(both.select([known.index(number) for number in numbers]), tuple(numbers), places)
        count = sum(len(part) for part, number in zip(parts, numbers, strict=True) if number in fresh)
        found.append((after, _account(model, recipe, job, count, own, after, reason, seconds)))
    return found


def _plan(job: Job, most: int) -> tuple[list[range], list[int]]:
    """The blocks of a memory's pairs, and their numbers."""
    keys = [pair_key(*pair) for pair in job.pairs]
    parts = blocks(keys, most)
    return parts, [block_key(keys[part.start : part.stop]) for part in parts]


def _account(
    model: Model,
    recipe: Recipe,
    job: Job,
    count: int,
    courses: Sequence[Course],
    after: Contents,
    reason: str | None,
    seconds: float,
) -> WriteAccount:
    ratios, by_site = model.fast(recipe).norm_ratio(after.delta)
    longest = max((len(course.loss) for course in courses), default=0)
    loss = []
    for step in range(longest):
        there = [course.loss[step] for course in courses if step < len(course.loss)]
        loss.append(sum(there) / len(there))
    if not job.new and reason is None:
        reason = "there were no pairs to write"
    return WriteAccount(
        recipe=recipe.name,
        lr=recipe.lr,
        seed=after.blocks[-1] if after.blocks else 0,
        pairs=min(job.new, count),
        rehearsed=max(0, count - job.new),
        dropped=[],
        steps=sum(course.steps for course in courses),
        tokens=sum(course.tokens for course in courses),
        loss=loss,
        new_loss=loss,
        delta_ratio=float(ratios.max()) if len(ratios) else 0.0,
        delta_ratio_by_site={name: float(value.max()) if len(value) else 0.0 for name, value in by_site.items()},
        log_sigma={},
        ax2={},
        seconds=seconds,
        applied=reason is None,
        reason=reason,
    )
