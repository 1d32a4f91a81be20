"""Reinforcement learning with a reward of your own: ``python examples/own_reward.py FOLDER [STEPS]``.

The same from the command line, in a folder with this file:
``tmem train rl persona --reward own_reward:brief --out FOLDER``.
"""

import sys
from pathlib import Path

from tmem.agent.trajectory import Trajectory
from tmem.tasks.base import Task
from tmem.tasks.scoring import SCORERS


def brief(task: Task, predictions: dict[str, str], trajectory: Trajectory) -> dict[str, float]:
    """By question: its F1, less a hundredth for every pair that the memory holds beyond the facts that were told."""
    spare = max(0, sum(len(write.pairs) for write in trajectory.writes) - len(task.facts))
    items = {item.id: item for item in task.items}
    return {
        name: SCORERS["tmem_token"](text, items[name].gold, items[name].category).f1 - 0.01 * spare
        for name, text in predictions.items()
    }


if __name__ == "__main__":
    from accelerate import Accelerator

    from tmem.evaluation.records.spec import Spec
    from tmem.model import load
    from tmem.training.config import Config, Running
    from tmem.training.grpo import Trainer
    from tmem.training.rewards import Reward

    folder, steps = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    spec = Spec("persona", {"facts": 2, "episodes": 2, "people": "unseen"}, "persona-nano", recipe="sgd")
    config = Config(spec, tasks=2, group=2, lr=1e-4, held_out=1, reward=Reward("own_reward:brief"))
    model = load("persona-nano", "cpu")
    trainer = Trainer(config, model, folder, Running(steps=steps), Accelerator(cpu=True))
    trainer.train(lambda step: print(step["type"], step["step"], "reward:", step.get("reward")))
    print("model:", folder / "model")
