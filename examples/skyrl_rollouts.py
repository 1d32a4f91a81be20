"""TMEM's rollouts for SkyRL, and what its learner needs beside: ``python examples/skyrl_rollouts.py`` (without SkyRL).

SkyRL (0.4, ``generator.step_wise_trajectories=true``) spreads learners and vLLM over many GPUs, shards the model and
takes several prompts, with contexts that begin anew, as one trajectory with one advantage: a row for every action.
Ours are the generator below, and the Delta under which a row was said: the learner has to score the row under it,
frozen. SkyRL hands rows to its learners without a column for that, so that is to be added there; here it is tried on
one process: log-probabilities of the rollouts beside those of the learner, with their Delta and without.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import torch

from tmem.agent.rollout import GATE
from tmem.agent.trajectory import Action, Trajectory
from tmem.evaluation.records.spec import Spec
from tmem.fastweights.delta import together
from tmem.model import Model, load, logprobs
from tmem.training.grpo import SAMPLED
from tmem.training.rewards import Reward


@dataclass
class TrajectoryID:  # as SkyRL has it
    instance_id: str
    repetition_id: int


class Generator:
    """A ``GeneratorInterface``; ``said``: every row's action with its trajectory, in the rows' order."""

    def __init__(self, spec: Spec, model: Model, world: int) -> None:
        agent = spec.agent(model, "tmem", seed=world)
        self.agent = replace(agent, building=SAMPLED, answering=SAMPLED, keep_deltas=True)
        self.bench, self.world, self.reward = spec.benchmark(model), world, Reward("f1")
        self.tasks = {task.episode.id: task for task in self.bench.tasks(world)}
        self.said: list[tuple[Trajectory, Action]] = []

    async def generate(self, input_batch: dict[str, Any]) -> dict[str, list[Any]]:
        ids = input_batch["trajectory_ids"]
        tasks = [self.tasks[one.instance_id] for one in ids]
        # A name of its own for every repetition, so that each has seeds of its own.
        lives = [
            replace(task.episode, id=f"{own.instance_id}/{own.repetition_id}")
            for task, own in zip(tasks, ids, strict=True)
        ]
        trajectories = await asyncio.to_thread(self.agent.run, lives)
        names = "prompt_token_ids", "response_ids", "rewards", "loss_masks", "stop_reasons", "rollout_logprobs"
        rows: dict[str, list[Any]] = {name: [] for name in (*names, "trajectory_ids", "is_last_step")}
        for own, task, trajectory in zip(ids, tasks, trajectories, strict=True):
            earned = self.reward(self.bench, task, trajectory, self.world).reward
            actions = [action for action in trajectory.actions if action.kind != GATE]
            for action in actions:
                last, count = action is actions[-1], len(action.output_ids)
                self.said.append((trajectory, action))
                rows["prompt_token_ids"].append(list(action.prompt_ids))
                rows["response_ids"].append(list(action.output_ids))
                rows["rewards"].append([0.0] * (count - 1) + [earned if last else 0.0])  # only the last one's counts
                rows["loss_masks"].append([1] * count)
                rows["stop_reasons"].append(action.finish)
                rows["rollout_logprobs"].append(list(action.logprobs))
                rows["trajectory_ids"].append(own)
                rows["is_last_step"].append(last)
        return rows


def learner(generator: Generator, rows: dict[str, list[Any]], deltas: bool) -> list[torch.Tensor]:
    """What a learner scores, (tokens,) for every row: each under its own Delta, which gets no gradient."""
    agent, told = generator.agent, [trajectory.deltas[action.delta] for trajectory, action in generator.said]
    delta, firsts = together(told)
    own = [first if deltas else None for first in firsts]
    fast = agent.model.fast(agent.recipe)
    return logprobs(agent.model, rows["prompt_token_ids"], rows["response_ids"], delta, fast, own)


if __name__ == "__main__":
    spec = Spec("persona", {"facts": 2, "episodes": 2, "people": "seen"}, "persona-nano", recipe="sgd", write_tail=True)
    generator = Generator(spec, load("persona-nano", "cpu"), world=1)
    asked = [TrajectoryID(name, number) for name in generator.tasks for number in range(2)]
    rows = asyncio.run(generator.generate({"trajectory_ids": asked}))
    print(f"{len(asked)} trajectories, {len(rows['response_ids'])} rows")
    with torch.no_grad():
        for name, deltas in (("under its Delta", True), ("without", False)):
            scored = torch.cat(learner(generator, rows, deltas))
            apart = (scored - torch.tensor([x for own in rows["rollout_logprobs"] for x in own])).abs().max()
            print(f"{name}: log-probabilities of rollouts and learner at most {float(apart):.0e} apart")
