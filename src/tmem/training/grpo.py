"""Reinforcement learning of theta_0 through the fast weights (paper, RL): group-relative policy gradients.

A step runs a few tasks, n times each, under the policy of the moment; every rollout has a Delta of its own. Its
reward less the group's mean becomes the advantage of all that was done in it, answers and extractions alike, and
theta_0 is moved along the gradient of log pi under theta_0 + Delta_t, Delta_t as it was when the action was sampled.

What is simpler than elsewhere, and why:

1. Rollouts and learning take turns in one process: nothing is ever learnt from an older policy than that of its step.
2. Several processes share the tasks of a step and add up their gradients; each holds the whole model.
3. An engine elsewhere that generates gets all weights again before every step, through the disk.
4. The advantage is not divided by the group's spread unless asked: hard tasks do not count more than others.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from torch import Tensor

from tmem.agent.agent import Agent, Progress
from tmem.errors import Diverged, UsageError
from tmem.evaluation.records.spec import open_run
from tmem.evaluation.records.summary import mean
from tmem.fastweights import FastWeights
from tmem.files import append_line, check_folder, read_jsonl
from tmem.model import Model
from tmem.model.request import Sampling
from tmem.model.served import ServedEngine
from tmem.seeds import derive
from tmem.training import checkpoint, measure
from tmem.training.advantages import ScoredTrajectory, samples
from tmem.training.checkpoint import ABOUT, BASIS, METRICS, forget_after
from tmem.training.config import Config, Running
from tmem.training.measure import merged
from tmem.training.policy_loss import Objective, Sums, backward
from tmem.training.rewards import own_reward, source_hash
from tmem.training.rollouts import Curriculum, collect, in_turn, shares
from tmem.training.slow_lora import acting, trainable

MOST_RECALLED = 64  # pairs that are asked for again in every step
NAN_POLICY = "a log-probability of the policy is not finite"
SAMPLED = Sampling(temperature=1.0)  # actions are drawn from pi itself, since its log-probabilities are learnt from


class Trainer:
    """One training run in a folder; made again with the same configuration it goes on where it was.

    ``reward_changed``: the source of the user's own reward is not what it was in the steps before.
    Raises :class:`UsageError` and :class:`DataError` for what cannot work, before any work is done.
    """

    def __init__(self, config: Config, model: Model, folder: Path, running: Running, accelerator: Accelerator) -> None:
        self.config, self.model, self.folder, self.running = config, model, folder, running
        self.accelerator = accelerator
        if config.group < 2 or config.tasks < config.parts or config.tasks < accelerator.num_processes:
            raise UsageError(
                "a group needs two rollouts, and a step at least one task for every part and every process: "
                f"got --group {config.group}, --tasks {config.tasks}, --parts {config.parts}"
            )
        if config.spec.grammar:
            raise UsageError("a grammar would hide from the policy what it does wrong: train without --grammar")
        if config.reward.name not in ("f1", "em"):
            own_reward(config.reward.name)
        check_folder(folder)
        if config.extract_tokens is not None:
            limit = {"max_new_tokens_extract": config.extract_tokens}
            model.settings = model.settings.model_copy(update=limit)
        model.weights = "float32"  # decoding from a copy in fewer bits would act by another policy than learns
        self.agents = [self._agent(model, name) for name in config.memory.split(",")]
        recipe, split = self.agents[0].recipe, self.agents[0].split
        if any(agent.split != split for agent in self.agents):
            raise UsageError(
                f"{config.memory}: some know the question while they read and others do not; give --question blind"
            )
        turns = in_turn(self.agents, range(config.tasks), config.parts)
        if len(turns) < len(self.agents):
            raise UsageError(
                f"{config.memory}: {config.tasks} tasks a step in {config.parts} parts leave a memory without any: "
                "give more --tasks"
            )
        self.fast: FastWeights | None = model.fast(recipe) if self.writer.policy.learns else None
        if recipe.fresh is not None:
            model.fast(recipe)  # a gate's, too, which a slow LoRA would hide the matrices from
        self.curriculum = Curriculum(
            config.spec, model, config.seed, config.tasks, config.held_out, split, config.held_out_people
        )
        about = self._describe()
        if accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            open_run(folder, about, "", ABOUT)
        if self.fast is not None:
            begun = checkpoint.with_basis(model, folder) if (folder / BASIS).exists() else model
            if begun.fast(recipe).basis.digest != self.fast.basis.digest:  # A was computed on another machine
                self.model = begun
                self.agents = [replace(agent, model=begun) for agent in self.agents]
                self.fast = begun.fast(recipe)
            about["basis"] = self.fast.basis.digest
        chosen = {key: value for key, value in about.items() if value is not None}  # as before there was the choice
        self.identity = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
        self.objective = Objective(config.clip, config.kl, *self._start())
        self.trained = self._choose()
        self.optimizer = self._optimizer()
        set_seed(derive(config.seed, "global") % 2**32)  # nothing here draws from it; a user's own reward may
        self.step = self._restore()
        self.reward_changed = False
        if accelerator.is_main_process:
            forget_after(folder / METRICS, self.step)
            self._note_reward()
            # By a run that was killed; before anyone makes a new one.
            for left in (*folder.glob(".deltas-*"), *folder.glob(".served-*")):
                shutil.rmtree(left, ignore_errors=True)
        accelerator.wait_for_everyone()
        if running.track:
            accelerator.init_trackers("tmem", {"config": json.dumps(about)})

    # ---- who acts, and what is trained ----

    def _agent(self, model: Model, memory: str) -> Agent:
        """The agent that rolls out with this memory."""
        agent = self.config.spec.agent(model, memory, self.config.seed)
        if agent.policy.alone:
            raise UsageError(
                f"{memory} changes theta_0 itself while it reads, which is what is trained: train another one"
            )
        if agent.recipe.fresh is not None and agent.policy.learns and memory != "tmem" and self.config.spec.engine:
            raise UsageError(
                f"{memory} hears its weights in a voice of their own, which no engine elsewhere mixes: "
                "train it without --engine, or with --recipe sgd"
            )
        return replace(agent, building=SAMPLED, answering=SAMPLED, keep_deltas=True, at_once=self.running.at_once)

    @property
    def writer(self) -> Agent:
        """The first that has fast weights, if any has: what it wrote is asked for again."""
        return next((agent for agent in self.agents if agent.policy.learns), self.agents[0])

    def _describe(self) -> dict[str, Any]:
        about = asdict(self.config)
        about["spec"]["recipe"] = self.agents[0].recipe.model_dump()
        about["spec"]["budget"] = self.agents[0].budget
        data = self.curriculum.bench.identity()
        found = about | {"data": data, "model_hash": self.model.identity, "version": version("tmem")}
        if self.model.dtype != "float32":
            found["dtype"] = self.model.dtype
        return dict(json.loads(json.dumps(found, default=str)))

    def _start(self) -> tuple[Model | None, FastWeights | None]:
        """The model before training, if the divergence from it counts."""
        if self.config.kl == 0.0:
            return None, None
        model = self.model
        plain = model.settings.model_copy(update={"basis": None})
        start = Model(model.name, model.directory, copy.deepcopy(model.hf), model.tokenizer, plain)
        return start, FastWeights(start.hf, self.fast.basis) if self.fast is not None else None

    def _choose(self) -> dict[str, Tensor]:
        """The parameters that are trained, by name."""
        if self.model.hf.dtype == torch.float16:
            raise UsageError("gradients are lost in float16: load the model as bfloat16 or float32")
        return trainable(self.model.hf, self.config.slow_lora, self.config.seed)

    def _optimizer(self) -> torch.optim.Optimizer:
        """AdamW; of several processes each keeps a part of its moments."""
        trained = list(self.trained.values())
        how: dict[str, Any] = {"lr": self.config.lr, "betas": (0.9, 0.95), "weight_decay": 0.0}
        if self.accelerator.num_processes > 1:
            from torch.distributed.optim import ZeroRedundancyOptimizer  # slow to import

            return ZeroRedundancyOptimizer(trained, torch.optim.AdamW, **how)
        return torch.optim.AdamW(trained, **how)

    # ---- the loop ----

    def train(
        self,
        tell: Callable[[dict[str, Any]], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Train up to ``running.steps``; ``tell`` gets the figures of every step, ``progress`` the rollouts' progress.

        Raises :class:`Diverged` when something is not finite; the last checkpoint is left as it was.
        """
        self._serve()
        if self.step == 0:
            self._record(self._evaluate(), tell)
        elif checkpoint.exported(self.folder / "model") != self.step:
            self._export()  # whatever comes now, the checkpoint's model is there
        while self.step < self.running.steps:
            figures = self._learn(self.step, progress)
            self.step += 1
            self._serve()
            last = self.step >= self.running.steps
            world = self.accelerator.num_processes
            self._record({"type": "step", "step": self.step, "processes": world, **figures}, tell)
            if self.step % self.config.eval_every == 0 or last:
                self._record(self._evaluate(), tell)
                self._export()
            if self.step % self.running.save_every == 0 or last:
                self._save()
        if self.running.track:
            self.accelerator.end_training()

    def _serve(self) -> None:
        """Let the engine elsewhere that generates have theta_0 as it is now."""
        engine = self.agents[0].engine
        if isinstance(engine, ServedEngine):
            if self.accelerator.is_main_process:
                with tempfile.TemporaryDirectory(dir=self.folder, prefix=".served-") as folder:
                    # Without A: vLLM reads every file of tensors that it finds.
                    checkpoint.export(Path(folder) / "model", self.model, None, {})
                    engine.learn(Path(folder) / "model")
            self.accelerator.wait_for_everyone()

    def _restore(self) -> int:
        """Go back to the last checkpoint; its step, 0 if there is none."""
        step = checkpoint.restore(self.folder, self.identity, self.trained, self.optimizer)
        if step:
            self.model.changed()
        return step

    def _save(self) -> None:
        """Write the checkpoint to go on from, whatever the number of processes then."""
        if self.accelerator.num_processes > 1:
            cast(Any, self.optimizer).consolidate_state_dict()  # its parts, to the main process
        if self.accelerator.is_main_process:
            if self.fast is not None and not (self.folder / BASIS).exists():
                self.fast.basis.save(self.folder / BASIS)
            checkpoint.save(self.folder, self.step, self.identity, self.trained, self.optimizer)
        self.accelerator.wait_for_everyone()

    def _export(self) -> None:
        """Write the model as others load it."""
        if self.accelerator.is_main_process:
            about = {"trained_from": self.model.name, "memory": self.config.memory, "rl_steps": self.step}
            checkpoint.export(self.folder / "model", self.model, self.fast, about)

    def _learn(self, step: int, progress: Callable[[Progress], None] | None) -> dict[str, Any]:
        """One step: rollouts, then an optimizer step for each part of the tasks."""
        config, world = self.config, self.accelerator.num_processes
        started = time.perf_counter()
        tasks, seed = self.curriculum.at(step)
        own = shares(len(tasks), config.parts, world)[self.accelerator.process_index]
        draws = derive(config.seed, step, "rollouts")
        with ExitStack() as stack:
            spill = None
            if self.running.deltas_on_disk and self.fast is not None:
                spill = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder, prefix=".deltas-")))
            with acting(self.model.hf):
                rollouts = collect(
                    [(replace(agent, seed=draws), places) for agent, places in in_turn(self.agents, own, config.parts)],
                    self.curriculum.bench,
                    tasks,
                    config.group,
                    f"step {step}",
                    seed,
                    config.reward,
                    progress,
                    spill,
                )
            if not all(self._of_all(rollouts.finite)):
                self._give_up(NAN_POLICY)
            if not sum(self._of_all(len(rollouts.groups))):  # the same on all
                why = next(iter(rollouts.dropped), "seen by another process")
                raise UsageError(
                    f"step {step + 1} has no group with two usable rewards, so there is nothing to learn from ({why}): "
                    "mend that, and the same command goes on from the last checkpoint"
                )
            rolled = time.perf_counter()
            figures = measure.acting(replace(self.writer, seed=draws), list(rollouts.groups.values()), MOST_RECALLED)
            learning = time.perf_counter()
            sums, norms = Sums(), []
            for number in range(config.parts):
                groups = [group for place, group in rollouts.groups.items() if place % config.parts == number]
                part, norm = self._update(groups)
                sums.add(part)
                norms.append(norm)
        if not torch.stack([value.isfinite().all() for value in self.trained.values()]).all():  # the same on all
            self._give_up("a trained weight is not finite")
        done = time.perf_counter()
        sums.loss /= config.parts
        figures |= measure.learning(sums, config.kl > 0.0) | {"gradient": mean(norms), "dropped": rollouts.dropped}
        figures["seconds"] |= {"rollouts": round(rolled - started, 3), "learning": round(done - learning, 3)}
        return dict(merged(self._of_all(figures)))

    def _update(self, groups: list[list[ScoredTrajectory]]) -> tuple[Sums, float]:
        """One optimizer step on these groups and the other processes' own."""
        config = self.config
        among = sum(self._of_all(len(groups)))
        if not among:
            return Sums(), 0.0
        how = config.advantage, config.weighting, config.credit, config.scale
        found = samples(groups, among, *how, self.model.decode)
        sums = backward(self.model, self.fast, found, self.objective, self.running.max_tokens, self.running.recompute)
        for value in self.trained.values():
            if value.grad is None:
                value.grad = torch.zeros_like(value)
            if self.accelerator.num_processes > 1:
                value.grad = self.accelerator.reduce(value.grad, reduction="sum")
        norm = float(torch.nn.utils.clip_grad_norm_(self.trained.values(), config.grad_norm))
        if not math.isfinite(norm):  # the same on all processes
            self._give_up("the loss is not finite")
        self.optimizer.step()
        self.model.changed()
        self.optimizer.zero_grad(set_to_none=True)
        return sums, norm

    def _give_up(self, why: str) -> NoReturn:
        """Raise :class:`Diverged`, on all processes; the last checkpoint is there as a model to begin from."""
        steps, model = self.step, self.folder / "model"
        self.step = self._restore()
        if self.step and checkpoint.exported(model) != self.step:
            self._export()
        self.accelerator.wait_for_everyone()  # the first to end takes the others with it
        kept = f"--model {model} begins from step {self.step}" if self.step else "no checkpoint was saved yet"
        raise Diverged(f"after step {steps}: {why}; give another --out and a smaller --lr; {kept}")

    # ---- what is recorded ----

    def _evaluate(self) -> dict[str, Any]:
        """Scores of the held-out episodes, which the processes share."""
        started, figures = time.perf_counter(), {}
        if self.config.held_out:
            bench, tasks, world = self.curriculum.held_out()
            own = range(self.accelerator.process_index, len(tasks), self.accelerator.num_processes)
            with acting(self.model.hf):
                rollouts = [
                    measure.held_out_rollouts(agent, bench, tasks, world, places)
                    for agent, places in in_turn(self.agents, own, self.config.parts)
                ]
            found = merged([one for process in self._of_all(rollouts) for one in process])
            if not all(found["finite"]):
                self._give_up(NAN_POLICY)
            figures = measure.held_out(found, bench)
        seconds = round(time.perf_counter() - started, 3)
        return {"type": "held out", "step": self.step, **figures, "seconds": seconds}

    def _note_reward(self) -> None:
        """Record the source of the user's own reward where it is not the one recorded last."""
        source = source_hash(self.config.reward.name)
        path = self.folder / METRICS
        told = [one["sha256"] for _, one in read_jsonl(path) if one["type"] == "reward"] if path.exists() else []
        if source is not None and source not in told[-1:]:
            self.reward_changed = bool(told)
            append_line(path, json.dumps({"type": "reward", "step": self.step, "sha256": source}))

    def _of_all(self, value: Any) -> list[Any]:
        """What each process has, in their order."""
        return gather_object([value]) if self.accelerator.num_processes > 1 else [value]

    def _record(self, figures: dict[str, Any], tell: Callable[[dict[str, Any]], None] | None) -> None:
        if not self.accelerator.is_main_process:
            return
        append_line(self.folder / METRICS, json.dumps(figures))
        if self.running.track:
            self.accelerator.log(flat(figures, f"{figures['type']}/"), step=self.step)
        if tell is not None:
            tell(figures)


def flat(figures: dict[str, Any], before: str = "") -> dict[str, float]:
    """The numbers of nested figures by path, as trackers take them."""
    found: dict[str, float] = {}
    for key, value in figures.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{key}/")
        elif isinstance(value, (int, float)):
            found[before + key] = float(value)
    return found
