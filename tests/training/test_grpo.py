"""Training through rollouts, on the smallest embedded model: it resumes bit for bit, and loses nothing silently."""

from __future__ import annotations

import importlib
import json
import linecache
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from tmem.agent.trajectory import Trajectory
from tmem.errors import DataError, EngineError, ModelError, UsageError
from tmem.evaluation.records.spec import Spec
from tmem.fastweights import FastWeights
from tmem.model import Model, load, logprobs
from tmem.model.load import PACK_AFTER
from tmem.seeds import derive
from tmem.training import checkpoint, grpo, report, slow_lora
from tmem.training.checkpoint import ABOUT, BASIS, CHECKPOINT, METRICS, optimizer_tensors
from tmem.training.config import Config, Running
from tmem.training.grpo import Diverged, Trainer, flat
from tmem.training.measure import SUMMED, Share, merged
from tmem.training.rewards import Reward, RewardError, own_reward, source_hash
from tmem.training.rollouts import Curriculum, collect, in_turn, names_of, shares

SPEC = Spec(
    "persona",
    {"facts": 2, "episodes": 2, "people": "seen"},
    "persona-nano",
    recipe="sgd",
    changes={"epochs": 5},
    write_tail=True,
)
CONFIG = Config(SPEC, tasks=2, group=3, lr=1e-4, held_out=1, eval_every=2)
RUNNING = Running(steps=2, save_every=1)


def trainer(folder: Path, running: Running = RUNNING, model: Model | None = None, **changes: Any) -> Trainer:
    config = replace(CONFIG, **changes)
    return Trainer(config, model or load(config.spec.model, "cpu"), folder, running, Accelerator(cpu=True))


def metrics(folder: Path) -> list[dict[str, Any]]:
    """What was recorded of steps and looks, without the times."""
    lines = map(json.loads, (folder / METRICS).read_text().splitlines())
    found = [one for one in lines if one["type"] != "reward"]
    for one in found:
        del one["seconds"]
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps without interruption."""
    folder = tmp_path_factory.mktemp("rl")
    trainer(folder).train()
    return folder


def test_steps_and_looks_are_recorded(trained: Path) -> None:
    found = metrics(trained)
    assert [(one["type"], one["step"]) for one in found] == [
        *(("held out", 0), ("step", 1), ("step", 2), ("held out", 2)),
    ]
    step = found[1]
    assert step["episodes"] == 6
    assert step["learnt_tokens"] > 0
    assert step["dropped"] == []
    assert 0 <= step["recall_after_write"] <= 1
    assert abs(step["kl"]) < 1e-5  # what acted is what learns: generation and scoring agree
    assert step["clip_fraction"] == 0
    assert step["kl_start"] is None  # not measured
    assert step["processes"] == 1
    assert flat(step)["extraction/recall"] == step["extraction"]["recall"]


def test_what_acts_is_what_learns_when_memories_are_written_from_zero(tmp_path: Path) -> None:
    spec = replace(SPEC, recipe="tmem", changes={"fresh.steps": 4, "fresh.steps_per_pair": 1})
    trainer(tmp_path, replace(RUNNING, steps=1), spec=spec, held_out=0).train()
    [step] = [one for one in metrics(tmp_path) if one["type"] == "step"]
    assert step["learnt_tokens"] > 0 and abs(step["kl"]) < 1e-5 and step["clip_fraction"] == 0
    assert (tmp_path / "model/model.safetensors").is_file()


@pytest.mark.parametrize("memory", ["tmem+rag", "tmem+explicit"])
def test_what_acts_is_what_learns_when_the_memory_is_a_voice(tmp_path: Path, memory: str) -> None:
    spec = replace(SPEC, recipe="tmem", changes={"fresh.steps": 4, "fresh.steps_per_pair": 1})
    trainer(tmp_path, replace(RUNNING, steps=1), spec=spec, held_out=0, memory=memory, credit="answers").train()
    [step] = [one for one in metrics(tmp_path) if one["type"] == "step"]
    assert step["learnt_tokens"] > 0 and abs(step["kl"]) < 1e-5 and step["clip_fraction"] == 0
    assert step["entropy"] > 0


def test_a_server_that_generates_gets_the_weights_of_every_step(tmp_path: Path) -> None:
    from model.engine_server import VllmLikeServer

    with VllmLikeServer(load("persona-nano", "cpu"), rank=64, dev=True) as server:
        spec = replace(SPEC, engine=server.url)
        changes: dict[str, Any] = {"spec": spec, "lr": 1e-3, "slow_lora": 4, "held_out": 0}
        begun = trainer(tmp_path, replace(RUNNING, steps=1), **changes)
        begun.train()
        trained = trainer(tmp_path, **changes)  # goes on
        trained.train()
        given = [body for route, body in server.asked if route == "/collective_rpc"]
        assert len(given) == 4 and server.adapters
        for one in (begun, trained):
            one.agents[0].engine.close()  # type: ignore[union-attr]
        assert not server.adapters
        own = slow_lora.merged_state(trained.model.hf)
        for name, value in server.model.hf.named_parameters():
            assert torch.equal(value, own[name]), name
    steps = [one for one in metrics(tmp_path) if one["type"] == "step"]
    assert [step["step"] for step in steps] == [1, 2] and all(step["learnt_tokens"] > 0 for step in steps)
    assert all(abs(step["kl"]) < 1e-5 and step["clip_fraction"] == 0 for step in steps)  # what acts is what learns
    assert not list(tmp_path.glob(".served-*"))


def test_servers_that_take_no_weights(tmp_path: Path) -> None:
    from model.engine_server import LlamaCppServer, VllmLikeServer

    for kind, said in ((VllmLikeServer, "VLLM_SERVER_DEV_MODE=1"), (LlamaCppServer, "only when it starts")):
        with kind(load("persona-nano", "cpu")) as server, pytest.raises(EngineError, match=said):
            trainer(tmp_path / kind.__name__, spec=replace(SPEC, engine=server.url)).train()
    with VllmLikeServer(load("persona-nano", "cpu")) as server, pytest.raises(UsageError, match="no engine elsewhere"):
        trainer(tmp_path, memory="tmem+rag", spec=replace(SPEC, recipe="tmem", changes={}, engine=server.url))


def test_resuming_gives_the_same_bits(trained: Path, tmp_path: Path) -> None:
    trainer(tmp_path, replace(RUNNING, steps=1)).train()
    trainer(tmp_path).train()
    # The run that ended after a step looked at held-out episodes then, too.
    assert [one for one in metrics(tmp_path) if one["step"] != 1 or one["type"] == "step"] == metrics(trained)
    assert same(trained, tmp_path)
    assert (tmp_path / "model/model.safetensors").read_bytes() == (trained / "model/model.safetensors").read_bytes()


def test_resuming_gives_the_same_bits_when_memories_are_written_from_zero(tmp_path: Path) -> None:
    """What a write holds is what theta_0 says now, in a run that goes on as in one that never stopped."""
    changes = {"fresh.steps": 4, "fresh.steps_per_pair": 1}
    how: dict[str, Any] = {"spec": replace(SPEC, recipe="tmem", changes=changes), "held_out": 0, "lr": 1e-3, "tasks": 1}
    whole = trainer(tmp_path / "whole", **how)
    whole.train()
    trainer(tmp_path / "parts", replace(RUNNING, steps=1), **how).train()
    parts = trainer(tmp_path / "parts", **how)
    parts.train()
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert all(one.model.weights_hash != one.config.spec.load().weights_hash for one in (whole, parts))


def same(one: Path, other: Path) -> bool:
    a, b = load_file(one / CHECKPOINT), load_file(other / CHECKPOINT)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_killed_run_goes_on_to_the_same_bits(trained: Path, tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    deadline = time.monotonic() + 120
    while not (tmp_path / CHECKPOINT).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / CHECKPOINT).exists()
    trainer(tmp_path).train()
    assert metrics(tmp_path) == metrics(trained)
    assert same(trained, tmp_path)


def test_where_memories_are_kept_changes_nothing(trained: Path, tmp_path: Path) -> None:
    trainer(tmp_path, replace(RUNNING, deltas_on_disk=True)).train()
    assert same(trained, tmp_path)
    assert not list(tmp_path.glob(".deltas-*"))


def test_the_model_carries_the_a_that_it_was_trained_with(trained: Path, tmp_path: Path) -> None:
    start, model = load("persona-nano", "cpu"), load(trained / "model", "cpu")
    recipe = start.recipe("sgd")
    assert model.weights_hash != start.weights_hash
    assert model.fast(recipe).basis.digest == start.fast(recipe).basis.digest
    assert model.settings.results["rl_steps"] == 2
    assert model.wordings.groups and model.wordings == start.wordings  # so that its writes teach refusals, too
    # What vLLM goes by where there are more files.
    index = json.loads((trained / "model" / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == dict.fromkeys(load_file(trained / "model" / "model.safetensors"), "model.safetensors")
    damaged = tmp_path / "model"
    damaged.mkdir()
    for path in (trained / "model").iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / "basis.safetensors").unlink()
    with pytest.raises(DataError, match="no such file"):
        load(damaged, "cpu")
    other = load("persona-nano", "cpu").fast(recipe).basis
    other.save(damaged / "basis.safetensors")
    with pytest.raises(ModelError, match="other weights"):
        load(damaged, "cpu")


def test_another_training_is_not_continued(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lr is 0\.0001, now 0\.1"):
        trainer(trained, lr=0.1)
    (tmp_path / CHECKPOINT).write_bytes((trained / CHECKPOINT).read_bytes())
    with pytest.raises(DataError, match="another model or other settings"):
        trainer(tmp_path, seed=2)
    (tmp_path / CHECKPOINT).write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot be read"):
        trainer(tmp_path, seed=2)


def test_a_training_goes_on_with_the_a_that_it_was_begun_with(tmp_path: Path) -> None:
    once = replace(RUNNING, steps=1)
    trainer(tmp_path, once, held_out=0).train()
    begun = trainer(tmp_path, once, held_out=0).identity

    def with_another_a() -> Model:
        model = load("persona-nano", "cpu")
        recipe = SPEC.agent(model, "tmem", 1).recipe
        basis = model.fast(recipe).basis
        other = replace(basis, a={name: value * 1.001 for name, value in basis.a.items()})
        model._fast = {key: FastWeights(model.hf, other) for key in model._fast}
        return model

    resumed = trainer(tmp_path, once, with_another_a(), held_out=0)
    assert resumed.identity == begun
    resumed._export()  # with what its writes ask beside their pairs
    assert load(tmp_path / "model", "cpu").wordings == load("persona-nano", "cpu").wordings == resumed.model.wordings
    assert resumed.fast is not None and all(agent.model.fast(agent.recipe) is resumed.fast for agent in resumed.agents)
    (tmp_path / BASIS).unlink()
    with pytest.raises(DataError, match=r"or basis\.safetensors is not its own"):
        trainer(tmp_path, once, with_another_a(), held_out=0)
    assert trainer(tmp_path, once, held_out=0).identity == begun


def test_a_checkpoint_has_all_random_states(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    trained, optimizer = dict(layer.named_parameters()), torch.optim.AdamW(layer.parameters())
    checkpoint.save(tmp_path, 3, "this", trained, optimizer)
    drawn = random.random(), numpy.random.normal(), torch.rand(1)
    assert checkpoint.restore(tmp_path, "this", trained, optimizer) == 3
    assert (random.random(), numpy.random.normal(), torch.rand(1)) == drawn


def test_a_checkpoints_model_is_written_when_it_is_missing_or_of_another_step(tmp_path: Path) -> None:
    once, model = replace(RUNNING, steps=1), tmp_path / "model"
    running = trainer(tmp_path, once, held_out=0)
    running.train()
    before = (model / "model.safetensors").read_bytes()
    (model / "tmem.json").unlink()
    trainer(tmp_path, once, held_out=0).train()
    assert checkpoint.exported(model) == 1
    assert (model / "model.safetensors").read_bytes() == before
    checkpoint.export(model, load("persona-nano", "cpu"), running.fast, {"rl_steps": 0})
    trainer(tmp_path, once, held_out=0).train()
    assert (model / "model.safetensors").read_bytes() == before


def test_a_diverging_run_leaves_its_last_checkpoint_and_the_model_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = trainer(tmp_path, held_out=0)
    real, kept = grpo.backward, {}

    def broken(model: Any, *args: Any) -> Any:
        sums = real(model, *args)
        if running.step == 1:
            kept[0] = (tmp_path / CHECKPOINT).read_bytes()
            next(iter(running.trained.values())).grad.fill_(torch.nan)  # type: ignore[union-attr]
        return sums

    monkeypatch.setattr(grpo, "backward", broken)
    model = tmp_path / "model"
    advice = f"give another --out and a smaller --lr; --model {model} begins from step 1"
    with pytest.raises(Diverged, match=f"after step 1: the loss is not finite; {advice}"):
        running.train()
    assert (tmp_path / CHECKPOINT).read_bytes() == kept[0]
    assert checkpoint.exported(model) == 1  # no look was due at step 1, so it was not there before
    saved, written = load_file(tmp_path / CHECKPOINT), load_file(model / "model.safetensors")
    assert all(torch.equal(value, saved[f"weight.{name}"]) for name, value in written.items())
    spec = replace(SPEC, model=str(model))
    trainer(tmp_path / "again", replace(RUNNING, steps=1), spec=spec, lr=1e-6, held_out=0).train()
    running = trainer(tmp_path / "elsewhere", held_out=0)
    running.step = 1
    with pytest.raises(Diverged, match="no checkpoint was saved yet"):
        running.train()


@pytest.mark.parametrize("held_out", [0, 1])
def test_a_policy_that_became_nan_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_out: int) -> None:
    trainer(tmp_path, replace(RUNNING, steps=1), held_out=held_out).train()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != METRICS}
    running = trainer(tmp_path, held_out=held_out)
    real = Trainer._learn

    def learn(self: Trainer, *args: Any) -> Any:
        figures = real(self, *args) if held_out else None
        next(iter(self.trained.values())).data.fill_(torch.nan)
        return figures or real(self, *args)

    monkeypatch.setattr(Trainer, "_learn", learn)
    with pytest.raises(Diverged, match="a log-probability of the policy is not finite"):
        running.train()
    assert {path: path.read_bytes() for path in before} == before


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = trainer(tmp_path, replace(RUNNING, steps=1), held_out=0)
    step = running.optimizer.step

    def overflow() -> None:
        step()
        next(iter(running.trained.values())).data[0] = torch.inf

    monkeypatch.setattr(running.optimizer, "step", overflow)
    with pytest.raises(Diverged, match="a trained weight is not finite"):
        running.train()
    assert not (tmp_path / CHECKPOINT).exists()
    assert not (tmp_path / "model").exists()


def test_extractions_that_are_cut_off_are_counted_and_the_training_goes_on(tmp_path: Path) -> None:
    trainer(tmp_path, extract_tokens=3).train()  # no valid JSON in so few
    first, step, *_, last = metrics(tmp_path)
    for look in (first, last):
        assert look["extraction"]["valid_json"] == 0
    assert (step["valid_json"], step["pairs"], step["recall_after_write"]) == (0, 0, None)
    assert step["extraction"] == {"recall": 0, "precision": None, "valid_json": 0}
    assert step["dropped"] == []
    assert checkpoint.exported(tmp_path / "model") == 2
    assert json.loads((tmp_path / ABOUT).read_text())["extract_tokens"] == 3
    assert load(tmp_path / "model", "cpu").settings.max_new_tokens_extract == 3
    with pytest.raises(DataError, match="extract_tokens is 3, now None"):
        trainer(tmp_path)


def test_a_reward_that_raises_costs_its_episode_alone(tmp_path: Path) -> None:
    reward = Reward("own_rewards:raises_for_the_first")
    trainer(tmp_path, replace(RUNNING, steps=1), reward=reward, held_out=0).train()
    [step] = [one for one in metrics(tmp_path) if one["type"] == "step"]
    assert step["episodes"] == 4
    assert len(step["dropped"]) == 2
    assert all("the reward raised KeyError: 'no such fact'" in text for text in step["dropped"])


@pytest.mark.parametrize(("own", "why"), [("never_a_number", "not finite"), ("leaves", "raised SystemExit")])
def test_without_any_reward_the_training_says_so_and_ends(tmp_path: Path, own: str, why: str) -> None:
    running = trainer(tmp_path, replace(RUNNING, steps=1), reward=Reward(f"own_rewards:{own}"), held_out=0)
    before = {name: value.clone() for name, value in running.trained.items()}
    with pytest.raises(UsageError, match=f"nothing to learn from .*{why}.*: mend that, and"):
        running.train()
    assert all(torch.equal(before[name], value) for name, value in running.trained.items())
    assert [one for one in metrics(tmp_path) if one["type"] == "step"] == []


def test_episodes_that_cannot_be_run_are_named(tmp_path: Path) -> None:
    from tmem.tasks.persona import make_world

    data, model = tmp_path / "data.json", load("persona-nano", "cpu")
    data.write_text(json.dumps(make_world(1, 3, 1, 2)))
    model.settings = model.settings.model_copy(update={"window": 90})
    spec = Spec("locomo", {"path": str(data)}, "persona-nano", recipe="sgd", budget=80)
    running = trainer(tmp_path / "rl", replace(RUNNING, steps=1), model, spec=spec)
    with pytest.raises(
        UsageError, match=r"nothing to learn from .*makes a prompt of .* tokens, too long for the window"
    ):
        running.train()


def test_rewards_of_ones_own_and_penalties() -> None:
    start = load("persona-nano", "cpu")
    curriculum = Curriculum(SPEC, start, 1, 2, 0, split=False)
    tasks, world = curriculum.at(0)
    agent = replace(SPEC.agent(start, "tmem", 1), keep_deltas=True)
    [trajectory] = agent.run([tasks[0].episode])
    by_question = Reward("own_rewards:long_answers")(curriculum.bench, tasks[0], trajectory, world)
    assert by_question.by_question == {name: len(text.strip()) / 100 for name, text in trajectory.answers.items()}
    whole = Reward("own_rewards:pairs_written")(curriculum.bench, tasks[0], trajectory, world)
    assert whole.reward == len(trajectory.ledger)
    f1 = Reward("f1")(curriculum.bench, tasks[0], trajectory, world)
    less = Reward("f1", invalid=0.5, pairs=0.01)(curriculum.bench, tasks[0], trajectory, world)
    assert trajectory.writes[0].status == "ok"
    assert less.reward == pytest.approx(f1.reward - 0.01 * len(trajectory.writes[0].pairs))
    trajectory.writes[0] = replace(trajectory.writes[0], status="bad_json")
    invalid = Reward("f1", invalid=0.5)(curriculum.bench, tasks[0], trajectory, world)
    assert invalid.reward == pytest.approx(f1.reward - 0.5)


def test_a_wrong_answer_can_cost_more_than_a_refusal() -> None:
    start = load("persona-nano", "cpu")
    curriculum = Curriculum(SPEC, start, 1, 2, 0, split=False)
    tasks, world = curriculum.at(0)
    known = next(item for item in tasks[0].items if item.category != "adversarial")
    untold = next(item for item in tasks[0].items if item.category == "adversarial")
    wanted = {
        "Wrong.": (-0.5, -0.5),
        f"{known.gold[0]} Wrong": (None, -0.5),
        "No information available": (0.0, 1.0),
        str(known.gold[0]): (1.0, -0.5),
    }
    for said, (of_known, of_untold) in wanted.items():
        trajectory = Trajectory("e", "tmem", 0, answers={known.id: said, untold.id: said})
        plain = Reward("f1")(curriculum.bench, tasks[0], trajectory, world).by_question
        costly = Reward("f1", wrong=0.5)(curriculum.bench, tasks[0], trajectory, world).by_question
        expected = plain[known.id] - 0.5 * (1 - plain[known.id]) if of_known is None else of_known
        assert costly == pytest.approx({known.id: expected, untold.id: of_untold})


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a_text", "no number but 'good'"),
        ("two_numbers", "no number but tensor"),
        ("too_large", "no number but"),
        ("of_no_question", "of the questions none, asked were"),
        ("of_another_question", "of the questions nobody's, .* asked were"),
    ],
)
def test_a_reward_that_is_none_is_named(name: str, problem: str) -> None:
    start = load("persona-nano", "cpu")
    curriculum = Curriculum(SPEC, start, 1, 1, 0, split=False)
    [task], world = curriculum.at(0)
    found = collect(
        [(SPEC.agent(start, "none", 1), [0])],
        curriculum.bench,
        [task],
        2,
        "step 0",
        world,
        Reward(f"own_rewards:{name}"),
    )
    assert not found.groups
    assert len(found.dropped) == 3
    [trajectory] = SPEC.agent(start, "none", 1).run([task.episode])
    with pytest.raises(RewardError, match=problem) as caught:
        Reward(f"own_rewards:{name}")(curriculum.bench, task, trajectory, world)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def f(:", "SyntaxError"),
        ("raise ValueError('one\\ntwo')", "ValueError: one two"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("g = 1", "AttributeError"),
    ],
)
def test_a_reward_that_cannot_be_imported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    name = f"broken_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    with pytest.raises(UsageError, match=f"cannot be imported .*{problem}") as caught:
        own_reward(f"{name}:f")
    assert "\n" not in str(caught.value)
    assert sys.path == before


def test_a_reward_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reward_of_this_folder.py").write_text("def f(task, predictions, trajectory):\n    return 1.0\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert callable(own_reward("reward_of_this_folder:f"))
    assert sys.path == before


def test_a_reward_that_changes_between_two_starts_is_said_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, out = f"changing_{tmp_path.name.replace('-', '_')}", tmp_path / "rl"
    own = tmp_path / f"{name}.py"
    monkeypatch.chdir(tmp_path)

    def start(body: str, steps: int) -> bool:
        own.write_text(f"def f(task, predictions, trajectory):\n    return {body}\n")
        sys.modules.pop(name, None)
        linecache.clearcache()
        importlib.invalidate_caches()
        once = replace(RUNNING, steps=steps)
        running = trainer(out, once, tasks=1, group=2, held_out=0, reward=Reward(f"{name}:f"))
        if running.step < steps:
            running.train()
        return running.reward_changed

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert [start("1.0", 1), start("1.0", 1), start("2.0 + 1", 1), start("2.0 + 1", 1)] == [False, False, True, False]
    lines = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    assert [one["step"] for one in lines if one["type"] == "reward"] == [0, 1]
    [training] = report.find([out])
    assert "the source of the reward changed after step 1" in report.sections([training])[1].remarks
    assert source_hash("f1") is None is source_hash("builtins:len")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": 1}, "two rollouts"),
        ({"parts": 3}, "at least one task for every part"),
        ({"reward": Reward("bleu")}, "unknown reward 'bleu'"),
        ({"reward": Reward("nowhere:f")}, "cannot be imported"),
        ({"reward": Reward("own_rewards:nothing")}, "cannot be imported"),
        ({"reward": Reward("own_rewards:not_a_function")}, "no function"),
        ({"memory": "elephant"}, "unknown memory 'elephant'"),
        ({"memory": "rag,lora"}, "lora changes theta_0 itself"),
        ({"spec": replace(SPEC, grammar=True)}, "without --grammar"),
    ],
)
def test_what_cannot_work_is_refused_before_the_work(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trainer(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_parts_are_optimizer_steps_of_their_own(tmp_path: Path) -> None:
    running = trainer(tmp_path, replace(RUNNING, steps=1), parts=2, held_out=0)
    running.train()
    assert {int(state["step"]) for state in running.optimizer.state.values()} == {2}


@pytest.mark.parametrize(("tasks", "parts", "world"), [(8, 1, 3), (8, 2, 2), (4, 4, 2), (9, 2, 4), (3, 2, 3)])
def test_every_process_has_tasks_of_every_part(tasks: int, parts: int, world: int) -> None:
    own = shares(tasks, parts, world)
    assert sorted(place for places in own for place in places) == list(range(tasks))
    assert max(map(len, own)) - min(map(len, own)) <= 1
    if tasks >= parts * world:
        assert all({place % parts for place in places} == set(range(parts)) for places in own)
    if parts == 1:
        assert own[0] == list(range(0, tasks, world))


def test_a_task_that_comes_again_in_a_step_is_run_anew() -> None:
    start = load("persona-nano", "cpu")
    curriculum = Curriculum(SPEC, start, 1, 2, 0, split=False)
    [task, other], world = curriculum.at(0)
    tasks = [task, other, task]
    first, second, third = names_of(tasks, "step 0")
    assert (first, third) == (f"step 0/{task.episode.id}", f"{first} (2)")
    assert second == f"step 0/{other.episode.id}"
    agent = replace(SPEC.agent(start, "none", 1), answering=grpo.SAMPLED)
    found = collect([(agent, [0, 2])], curriculum.bench, tasks, 2, "step 0", world, Reward())
    assert sorted(found.groups) == [0, 2]
    again = [[scored.trajectory.answers for scored in found.groups[place]] for place in (0, 2)]
    assert again[0] != again[1]


@pytest.mark.parametrize("memory", ["memagent", "rag", "none"])
def test_any_memory_can_be_trained(tmp_path: Path, memory: str) -> None:
    running = trainer(tmp_path, replace(RUNNING, steps=1), memory=memory, credit="all", advantage="question")
    running.train()
    [step] = [one for one in metrics(tmp_path) if one["type"] == "step"]
    assert step["learnt_tokens"] > 0 or step["spread"] == 0
    assert "pairs" not in step
    assert load(tmp_path / "model", "cpu").settings.basis is None


def test_several_memories_have_the_tasks_in_turn(tmp_path: Path) -> None:
    both = {"memory": "tmem,rag", "tasks": 3, "held_out": 2, "advantage": "question"}
    whole = trainer(tmp_path / "whole", replace(RUNNING, deltas_on_disk=True), **both)
    assert [(agent.policy.name, places) for agent, places in in_turn(whole.agents, range(3), 1)] == [
        ("tmem", [0, 2]),
        ("rag", [1]),
    ]
    whole.train()
    look, step = metrics(tmp_path / "whole")[:2]
    assert set(look["by_memory"]) == {"tmem", "rag"} and 0 <= look["f1"] <= 1
    assert step["episodes"] == 9 and step["pairs"] > 0
    for steps in (1, 2):
        trainer(tmp_path / "resumed", replace(RUNNING, steps=steps), **both).train()
    assert metrics(tmp_path / "resumed")[-1] == metrics(tmp_path / "whole")[-1]


def test_a_memory_whose_pairs_stay_text_is_trained_beside_one_of_weights(tmp_path: Path) -> None:
    running = trainer(
        tmp_path, replace(RUNNING, steps=1, deltas_on_disk=True), memory="lookup,tmem", advantage="pair", held_out=0
    )
    (_, _), (agent, own) = in_turn(running.agents, range(2), 1)
    tasks, world = running.curriculum.at(0)
    agent = replace(agent, seed=derive(CONFIG.seed, 0, "rollouts"))
    found = collect([(agent, own)], running.curriculum.bench, tasks, 3, "step 0", world, Reward())
    trajectories = [scored.trajectory for group in found.groups.values() for scored in group]
    ratios = [write.account.delta_ratio for trajectory in trajectories for write in trajectory.writes]
    running.train()
    [step] = [one for one in metrics(tmp_path) if one["type"] == "step"]
    assert step["episodes"] == 6 and step["recall_after_write"] is not None
    assert step["delta_ratio"] == pytest.approx(sum(ratios) / len(ratios))  # of those that have weights


def test_several_memories_know_the_question_all_or_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --question blind"):
        trainer(tmp_path, memory="tmem,none", spec=replace(SPEC, question_known=True))


@pytest.mark.parametrize(("tasks", "parts"), [(1, 1), (3, 2)])
def test_every_memory_has_tasks(tmp_path: Path, tasks: int, parts: int) -> None:
    few = {"memory": "rag,memagent,none", "tasks": tasks, "parts": parts}
    with pytest.raises(UsageError, match=f"rag,memagent,none: {tasks} tasks a step in {parts} parts leave a memory wi"):
        trainer(tmp_path, **few)
    assert not (tmp_path / "training.json").exists()


def test_parts_of_a_step_have_all_memories(tmp_path: Path) -> None:
    one = trainer(tmp_path, memory="rag,memagent", tasks=8, parts=2)
    [(_, first), (_, second)] = in_turn(one.agents, range(8), 2)
    assert {place % 2 for place in first} == {place % 2 for place in second} == {0, 1}


def test_a_slow_lora_is_trained_alone_and_merged_for_others(tmp_path: Path) -> None:
    running = trainer(tmp_path, replace(RUNNING, steps=1), slow_lora=4, lr=1e-2, held_out=0, kl=0.1)
    assert all("lora" in name for name in running.trained)
    base = {n: v.clone() for n, v in running.model.hf.named_parameters() if "lora" not in n}
    running.train()
    assert metrics(tmp_path)[1]["kl_start"] == 0  # at the first step they are one
    assert all(torch.equal(base[n], v) for n, v in running.model.hf.named_parameters() if n in base)
    model = load(tmp_path / "model", "cpu")
    recipe = model.recipe("sgd")
    start = load("persona-nano", "cpu")
    assert model.fast(recipe).basis.digest == start.fast(recipe).basis.digest
    delta = model.fast(recipe).zeros(1)
    for name, b in delta.b.items():
        b.copy_(torch.randn(b.shape, generator=torch.Generator().manual_seed(len(name))) * 0.05)
    prompts, outputs = [[5, 6, 7]], [[8, 9, 10]]
    [merged] = logprobs(model, prompts, outputs, delta, model.fast(recipe))
    with torch.no_grad():
        [own] = logprobs(running.model, prompts, outputs, delta, running.fast)
        [plain] = logprobs(start, prompts, outputs, delta, start.fast(recipe))
    assert torch.allclose(merged, own, atol=1e-4)
    assert not torch.allclose(merged, plain, atol=1e-3)
    wrapped = {name: type(module) for name, module in running.model.hf.named_modules()}
    with slow_lora.acting(running.model.hf), torch.no_grad():  # by plain matrices, so that a step is written out
        step = running.model.written()
        assert step is not None
        step.done = PACK_AFTER  # it never rounds what is trained, though the checkpoint is in float16
        assert load("persona-nano", "cpu").weights == "float16" and running.model.written() is step
        [acts] = logprobs(running.model, prompts, outputs, delta, running.fast)
    assert torch.allclose(acts, own, atol=1e-4)
    assert all(torch.equal(base[n], v) for n, v in running.model.hf.named_parameters() if n in base)
    assert wrapped == {name: type(module) for name, module in running.model.hf.named_modules()}


def test_a_gate_is_asked_beside_a_slow_lora(tmp_path: Path) -> None:
    spec = replace(SPEC, recipe="tmem", changes={"fresh.steps": 4})
    trainer(tmp_path, replace(RUNNING, steps=1), spec=spec, memory="lookup", slow_lora=2, held_out=0).train()
    assert metrics(tmp_path)[1]["learnt_tokens"] > 0


def test_in_bf16_only_a_slow_lora_is_trained_and_that_in_float32(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lost in bf16"):
        trainer(tmp_path / "all", model=load("persona-nano", "cpu", "bfloat16"))
    model, once = load("persona-nano", "cpu", "bfloat16"), replace(RUNNING, steps=1)
    running = trainer(tmp_path / "lora", once, model, slow_lora=2, lr=1e-6, held_out=0, tasks=1, group=2)
    before = {name: value.clone() for name, value in running.trained.items()}
    running.train()
    assert all(value.dtype == torch.float32 for value in running.trained.values())
    assert any(not torch.equal(before[name], value) for name, value in running.trained.items())


def test_a_small_slow_lora_of_a_bf16_model_is_exported_exactly(tmp_path: Path) -> None:
    model = load("persona-nano", "cpu")
    model = Model(model.name, model.directory, model.hf.bfloat16(), model.tokenizer, model.settings)
    slow_lora.add_slow_lora(model.hf, 2, 1)
    for number, (name, value) in enumerate(model.hf.named_parameters()):
        if "lora_B" in name:  # bf16 has eight bits: most of this would be rounded away
            value.data = torch.randn(value.shape, generator=torch.Generator().manual_seed(number)) * 1e-3
    prompts, outputs = [[5, 6, 7]], [[8, 9, 10]]
    checkpoint.export(tmp_path / "model", model, None, {})
    assert model.hf.dtype == torch.bfloat16
    [found] = logprobs(load(tmp_path / "model", "cpu"), prompts, outputs)
    model.hf.float()
    [own] = logprobs(model, prompts, outputs)
    [plain] = logprobs(load("persona-nano", "cpu", "bfloat16"), prompts, outputs)
    assert torch.allclose(found, own, atol=1e-5)
    assert (own - plain).abs().max() > 1e-3
    stored = load_file(tmp_path / "model/model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float32}
    assert json.loads((tmp_path / "model/config.json").read_text())["dtype"] == "float32"
    start = load_file(load("persona-nano", "cpu").directory / "model.safetensors")
    assert stored.keys() == start.keys()


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "tmem"]
    launch += ["train", "rl", "persona", "--recipe", "sgd", "--facts", "2", "--tasks", "3", "--group", "3"]
    launch += ["--lr", "1e-4", "--held-out", "3", "--eval-every", "2", "--save-every", "1"]
    launch += ["--set", "epochs=5", "--out", str(two)]
    spec = replace(SPEC, options=SPEC.options | {"episodes": 3}, changes={"epochs": "5"})
    same_as_launched: dict[str, Any] = {"spec": spec, "tasks": 3, "held_out": 3}
    subprocess.run([*launch, "--steps", "1"], env=environment, check=True, timeout=240)
    trainer(one, replace(RUNNING, steps=1), **same_as_launched).train()
    (begun, alone, _), (also_begun, shared, _) = metrics(one), metrics(two)
    assert (alone.pop("processes"), shared.pop("processes")) == (1, 2)
    assert also_begun == begun  # held-out figures
    assert flat(shared) == pytest.approx(flat(alone), rel=1e-4, abs=1e-6)
    assert all(shared[name] == alone[name] for name in SUMMED if name != "loss")
    a, b = load_file(one / CHECKPOINT), load_file(two / CHECKPOINT)
    moments = [name for name in a if name.endswith("exp_avg")]
    assert moments
    for name in moments:  # a tenth of the gradient each
        assert (a[name] - b[name]).norm() < 1e-4 * a[name].norm().clamp_min(1e-8), name
    assert set(a) == set(b)
    resumed = trainer(two, **same_as_launched)  # by one process: the parts that two kept are there
    for name, value in optimizer_tensors(resumed.optimizer).items():
        assert torch.equal(value, b[name]), name
    nodes = [*launch, "--steps", "2"]  # now as two machines, that see one folder
    with socket.create_server(("127.0.0.1", 0)) as free:
        meet = f"127.0.0.1:{free.getsockname()[1]}"
    nodes[3:6] = ["--nnodes", "2", "--nproc_per_node", "1", "--rdzv_backend", "c10d", "--rdzv_endpoint", meet]
    running = [subprocess.Popen(nodes, env=environment) for _ in range(2)]
    assert [process.wait(timeout=240) for process in running] == [0, 0]
    trainer(one, **same_as_launched).train()
    start = dict(load("persona-nano", "cpu").hf.named_parameters())
    c, d = load_file(one / CHECKPOINT), load_file(two / CHECKPOINT)
    assert all(d[name] == 2 for name in d if name.endswith(".step"))
    assert [m["processes"] for m in metrics(two) if m["type"] == "step"] == [2, 2]
    apart = sum(float((c[f"weight.{name}"] - d[f"weight.{name}"]).square().sum()) for name in start)
    moved = sum(float((c[f"weight.{name}"] - value).square().sum()) for name, value in start.items())
    assert apart < 1e-6 * moved  # AdamW divides by gradients that are all but zero, too


def test_figures_of_processes_become_one() -> None:
    figures = [
        {"reward": Share(3.0, 3), "dropped": ["a"], "in": {"x": None}, "tokens": 3, "gradient": 0.5},
        {"reward": Share(1.0, 1), "dropped": [], "in": {"x": 2.0, "y": 1.0}, "tokens": 4, "gradient": 0.5},
        {"reward": Share(0.0, 0), "dropped": [], "in": {}, "pairs": Share(0.0, 0), "tokens": 0, "gradient": 0.5},
    ]
    assert merged(figures) == {
        **{"reward": 1.0, "dropped": ["a"], "in": {"x": 2.0, "y": 1.0}, "tokens": 7, "gradient": 0.5, "pairs": None}
    }


def test_a_data_set_is_gone_through_without_what_is_held_out(tmp_path: Path) -> None:
    from tmem.tasks.persona import make_world

    path = tmp_path / "data.json"
    path.write_text(json.dumps(make_world(1, 5, 1, 2)))
    spec = Spec("locomo", {"path": str(path)}, "persona-nano")
    curriculum = Curriculum(spec, load("persona-nano", "cpu"), 3, 2, 2, split=False)
    turns = [[task.episode.id for task in curriculum.at(step)[0]] for step in range(6)]
    _, held, _ = curriculum.held_out()
    seen = [name for turn in turns for name in turn]
    assert all(sorted(seen[i : i + 3]) == sorted(set(seen)) for i in (0, 3, 6, 9))  # each pass has every one
    assert not set(seen) & {task.episode.id for task in held}
    assert turns == [[task.episode.id for task in curriculum.at(step)[0]] for step in range(6)]
    split = Curriculum(spec, load("persona-nano", "cpu"), 3, 2, 2, split=True).at(0)[0]
    assert all(len(task.items) == len(task.episode.asks) == 1 for task in split)
    for held_out in (5, 6, 9):
        with pytest.raises(DataError, match="nothing is left to train on"):
            Curriculum(spec, load("persona-nano", "cpu"), 3, 2, held_out, split=False)


if __name__ == "__main__":  # a run of its own, to be killed
    torch.set_num_threads(1)
    trainer(Path(sys.argv[1])).train()
