"""Credit for what was written early: on a toy whose every course can be counted, against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from references import MemoryModel, prompt

from tmem.agent.trajectory import Action, Trajectory
from tmem.fastweights import Delta, Example, FastWeights, write
from tmem.model import Model, logprobs
from tmem.training.advantages import Sample, ScoredTrajectory, samples
from tmem.training.policy_loss import Objective, backward

READING, QUESTION = [prompt(9, 1), prompt(7, 2)], prompt(5, 3)  # two contexts to extract from, then a question
TOLD = [(11, 12, 13), (21, 22)]  # what each extraction may say, one token
REWARDS = {31: 1.0, 32: -1.0}  # of an answer; all others are worth nothing, as is every other extraction
Course = tuple[int, ...]  # first extraction, second extraction, answer


def written(model: Model, fast: FastWeights) -> dict[Course, Delta]:
    """What the memory is after each course of extractions: of two, through two writes."""
    recipe = model.recipe("paper", lr=2.0, epochs=8, rehearse=-1)
    found = {(): fast.zeros(1)}
    for told in (*product(TOLD[0]), *product(*TOLD)):
        pairs = [Example((40 + place, 5), (token,)) for place, token in enumerate(told)]
        found[told], [account] = write(fast, found[told[:-1]], [pairs[-1:]], recipe, [len(told)], [pairs[:-1]])
        assert account.applied
    return found


def scores(model: Model, fast: FastWeights, memories: dict[Course, Delta], course: Course) -> list[float]:
    """log pi of each action, under the memory of its moment."""
    prompts = [*READING, QUESTION]
    return [
        float(logprobs(model, [prompts[place]], [[token]], memories[course[:place]], fast, [0])[0])
        for place, token in enumerate(course)
    ]


COURSES = list(product(*TOLD, REWARDS))


def outcome(model: Model, fast: FastWeights, memories: dict[Course, Delta]) -> float:
    """The expectation of the reward. Memories are constants: nothing flows through a write."""
    with torch.no_grad():
        log = torch.tensor([scores(model, fast, memories, course) for course in COURSES], dtype=torch.float64)
    return float((log.sum(1).exp() * torch.tensor([REWARDS[course[-1]] for course in COURSES])).sum())


def course_samples(model: Model, fast: FastWeights, memories: dict[Course, Delta]) -> list[list[Sample]]:
    """The product's own samples of every course, weighted by how likely it is."""
    group, likely = [], []
    for course in COURSES:
        with torch.no_grad():
            log = scores(model, fast, memories, course)
        likely.append(torch.tensor(log, dtype=torch.float64).sum().exp())
        actions = [
            Action(kind, ids, (token,), (value,), "", "stop", place, row=0)
            for place, (kind, ids, token, value) in enumerate(
                zip(("extract", "extract", "answer"), (*READING, QUESTION), course, log, strict=True)
            )
        ]
        deltas = [memories[course[:place]] for place in range(3)]
        trajectory = Trajectory(str(course), "tmem", 0, actions, deltas=deltas)
        group.append(ScoredTrajectory(trajectory, REWARDS[course[-1]]))
    found = samples([group], among=1)  # the mean reward is 0: an advantage is the reward
    return [
        [replace(one, weight=float(likely[at])) for one in found[3 * at : 3 * at + 3]] for at in range(len(COURSES))
    ]


def test_early_extractions_have_the_gradient_of_the_expected_outcome(
    with_memories: Callable[[str], MemoryModel],
) -> None:
    model, fast, _ = with_memories("qwen3")
    memories = written(model, fast)
    found = course_samples(model, fast, memories)
    parameters = dict(model.hf.named_parameters())
    generator = torch.Generator().manual_seed(0)
    along = {name: torch.randn(value.shape, generator=generator) * 0.01 for name, value in parameters.items()}

    def slope(chosen: list[Sample]) -> float:
        """How fast the outcome rises in that direction, by the loss's gradient."""
        model.hf.requires_grad_(True)
        try:
            backward(model, fast, chosen, Objective())
            return -sum(
                float((value.grad * along[name]).sum()) for name, value in parameters.items() if value.grad is not None
            )
        finally:
            model.hf.requires_grad_(False)
            model.hf.zero_grad(set_to_none=True)

    def moved(by: float) -> None:
        for name, value in parameters.items():
            value.data += by * along[name]

    step = 1e-2
    before = {name: value.detach().clone() for name, value in parameters.items()}
    values = []
    for by in (step, -step):
        moved(by)
        values.append(outcome(model, fast, memories))
        for name, value in parameters.items():
            value.data.copy_(before[name])
    expected = (values[0] - values[1]) / (2 * step)
    of_actions = [slope([course[place] for course in found]) for place in range(3)]
    assert sum(of_actions) == pytest.approx(expected, rel=1e-3)
    assert slope([one for course in found for one in course]) == pytest.approx(expected, rel=1e-3)
    # The first extraction is heard through two writes alone, and what it is worth is a good part of the whole.
    assert abs(of_actions[0]) > 0.2 * max(map(abs, of_actions))
