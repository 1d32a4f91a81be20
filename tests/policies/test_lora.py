"""The peer: a LoRA that is in the model while its episode is lived, and gone without a trace afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tmem.agent import Ask, Episode
from tmem.model import Model, load
from tmem.policies import make_agent
from tmem.policies.lora import EPOCHS

GOLD = (("What is Ana's vehicle?", "camper", 0), ("What is Ana's city?", "Rome", 1))
EPISODE = Episode(
    "one",
    ("Ana bought a camper.", "Ana lives in Rome."),
    tuple(Ask(question, question) for question, _, _ in GOLD),
    gold=GOLD,
)


@pytest.fixture(scope="module")
def model() -> Model:
    return load("persona-nano")


def logits(model: Model) -> torch.Tensor:
    with torch.no_grad():
        return model.hf(input_ids=torch.tensor([model.bare("What is Ana's vehicle?")])).logits


def test_it_learns_unit_by_unit_and_leaves_the_model_as_it_was(model: Model) -> None:
    before, names = logits(model), [name for name, _ in model.hf.named_modules()]
    agent = make_agent(model, memory="lora", budget=1, write_tail=True, question_known=False)
    [trajectory] = agent.run([EPISODE])
    assert [write.account.pairs for write in trajectory.writes] == [2, 2]  # a unit's text, and its pair
    assert all(len(write.account.loss) == EPOCHS for write in trajectory.writes)
    assert all(write.account.loss[-1] < 0.2 * write.account.loss[0] for write in trajectory.writes)
    assert trajectory.answers["What is Ana's city?"].strip() == "Rome"
    assert torch.equal(logits(model), before) and [name for name, _ in model.hf.named_modules()] == names
    assert not hasattr(model.hf, "peft_config")


def test_a_rollout_that_is_broken_off_leaves_the_model_as_it_was(model: Model) -> None:
    before = logits(model)

    class Stops:
        def generate(self, *_: Any, **__: Any) -> Any:
            assert not torch.equal(logits(model), before)
            raise KeyboardInterrupt

    changes: dict[str, Any] = {"budget": 1, "write_tail": True, "question_known": False, "engine": Stops()}
    with pytest.raises(KeyboardInterrupt):
        make_agent(model, memory="lora", **changes).run([EPISODE])
    assert torch.equal(logits(model), before)


def test_episodes_run_one_at_a_time_and_do_not_meet(model: Model) -> None:
    other = Episode("two", ("Bo has a goat.",), (Ask("q", "What is Bo's pet?"),))
    agent = make_agent(model, memory="lora", budget=1, write_tail=True, question_known=False)
    running = []
    both = agent.run([EPISODE, other], progress=lambda now: running.append(now.running))
    assert max(running) == 1
    assert [one.answers for one in both] == [agent.run([one])[0].answers for one in (EPISODE, other)]
