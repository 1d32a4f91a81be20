"""Memory in weights the usual way: Transformers and PEFT, one user after another.

One LoRA adapter per user, a full forward pass and all logits for every epoch, and ``adapter_names`` where users share a
batch. It has the same A, recipe and pairs as tmem, so its results are compared number by number.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, PeftMixedModel, PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from tmem.agent import Agent, Episode
from tmem.agent.rollout import Call, Rollout, WriteJob
from tmem.agent.trajectory import Trajectory
from tmem.fastweights import Basis, Delta, Example, Recipe, WriteAccount
from tmem.fastweights.fresh import BETAS, EPSILON, NOISES, rate, steps_for
from tmem.fastweights.target_modules import find_target_modules
from tmem.model import Completion
from tmem.model.json_stop import JsonStop
from tmem.seeds import generator

Step = tuple[Sequence[int], float]  # the rows of a step, and its rate


class Usual:
    """A model with PEFT adapters named by their users. Its weights are shared with ``hf``, which is left alone."""

    def __init__(self, hf: PreTrainedModel, basis: Basis) -> None:
        own = copy.deepcopy(hf, {id(weight): weight for weight in hf.parameters()})
        if own.device.type == "cpu":
            own.set_attn_implementation("sdpa")  # transformers' own
        targets = find_target_modules(own, basis.layers)
        self.config = LoraConfig(
            r=basis.rank,
            lora_alpha=basis.rank,
            target_modules=sorted({target.name.rsplit(".", 1)[1] for target in targets}),
            layers_to_transform=sorted({target.layer for target in targets}),
            lora_dropout=0.0,
        )
        self.basis, self.names = basis, [target.name for target in targets]
        self.device = targets[0].weight.device
        self.model: PeftModel | PeftMixedModel = get_peft_model(own, self.config, adapter_name="0")  # type: ignore[arg-type]
        self._users = 1
        self._reset("0")
        self.model.eval()

    def adapters(self, count: int) -> list[str]:
        """Names of ``count`` empty adapters; those that exist are emptied."""
        for user in range(self._users, count):
            self.model.add_adapter(str(user), self.config)
        self._users = max(self._users, count)
        for user in range(count):
            self._reset(str(user))
        self.model.eval()
        return [str(user) for user in range(count)]

    def write(self, user: str, pairs: Sequence[Example], recipe: Recipe, orders: Sequence[Sequence[int]]) -> None:
        """Epochs of SGD on the user's B over ``pairs``, in the given order of each epoch."""
        steps = [order[at : at + recipe.batch] for order in orders for at in range(0, len(order), recipe.batch)]
        with self._trained(user) as b:
            self._train(torch.optim.SGD(b, lr=recipe.lr), pairs, [(rows, recipe.lr) for rows in steps])

    def write_from_zero(self, user: str, pairs: Sequence[Example], steps: Sequence[Step]) -> None:
        """Adam on the user's B, which is zero: each step with its own rows and rate."""
        with self._trained(user) as b:
            self._train(torch.optim.Adam(b, betas=BETAS, eps=EPSILON), pairs, steps)

    @contextmanager
    def _trained(self, user: str) -> Iterator[list[Tensor]]:
        """The user's B, of which alone there are gradients inside."""
        self.model.set_adapter(user)
        b = [self._b(name, user) for name in self.names]
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        for parameter in b:
            parameter.requires_grad_(True)
        yield b
        for parameter in b:
            parameter.requires_grad_(False)

    def _train(self, optimizer: torch.optim.Optimizer, pairs: Sequence[Example], steps: Sequence[Step]) -> None:
        for rows, lr in steps:
            optimizer.param_groups[0]["lr"] = lr
            optimizer.zero_grad()
            self.model(**_batch([pairs[row] for row in rows], self.device)).loss.backward()
            optimizer.step()

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        users: Sequence[str],
        stop_ids: Sequence[int] = (),
        stops: Sequence[JsonStop | None] = (),
        text: Callable[[int], str] = str,
    ) -> list[list[int]]:
        """Greedy tokens for each prompt, row i under the adapter of ``users[i]``.

        A row ends at its own limit, with one of ``stop_ids``, or when its own of ``stops`` has seen the array's end in
        the ``text`` of its tokens; the batch ends when all rows have. What a row says after its end is cut off.
        """
        width = max(map(len, prompts))
        ends = list(limits)

        def ended(so_far: Tensor, scores: Any, **more: Any) -> Tensor:
            count = so_far.shape[1] - width
            if stops:
                for row, (token, stop) in enumerate(zip(so_far[:, -1].tolist(), stops, strict=True)):
                    if stop is not None and count < ends[row] and stop.feed(text(token)):
                        ends[row] = count
            return torch.tensor([end <= count for end in ends], device=self.device)

        how: dict[str, Any] = {"max_new_tokens": max(limits), "eos_token_id": list(stop_ids) or None}
        if any(stop is not None for stop in stops) or len(set(limits)) > 1:
            how["stopping_criteria"] = [ended]
        done = self._generate(prompts, users, **how)
        return [_cut(row[width : width + end].tolist(), stop_ids) for row, end in zip(done, ends, strict=True)]

    def first(self, prompt: Sequence[int], user: str) -> Tensor:
        """Logits (V,) of the first token after ``prompt``, under the user's adapter."""
        how: dict[str, Any] = {"max_new_tokens": 1, "output_logits": True, "return_dict_in_generate": True}
        logits: Tensor = self._generate([prompt], [user], **how).logits[0][0]
        return logits

    def _generate(self, prompts: Sequence[Sequence[int]], users: Sequence[str], **how: Any) -> Any:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=self.device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=self.device)
        if len(set(users)) > 1:
            how["adapter_names"] = list(users)
        else:
            self.model.set_adapter(users[0])
        with torch.no_grad():
            return self.model.generate(input_ids=ids, attention_mask=mask, pad_token_id=0, do_sample=False, **how)

    def load(self, user: str, delta: Delta, row: int) -> None:
        """Take over a memory of tmem as this user's adapter."""
        with torch.no_grad():
            for name in self.names:
                self._b(name, user).copy_(delta.b[name][row])

    def b(self, user: str) -> dict[str, Tensor]:
        """The user's B by target module, (out, rank)."""
        return {name: self._b(name, user).detach() for name in self.names}

    def _b(self, name: str, user: str) -> Tensor:
        return self.model.get_submodule(f"base_model.model.{name}.lora_B.{user}").weight  # type: ignore[return-value]

    def _reset(self, user: str) -> None:
        with torch.no_grad():
            for name in self.names:
                a = self.model.get_submodule(f"base_model.model.{name}.lora_A.{user}").weight
                a.copy_(self.basis.a[name])  # type: ignore[operator]
                self._b(name, user).zero_()


def orders(count: int, recipe: Recipe, seed: int) -> list[list[int]]:
    """The order of ``count`` pairs in every epoch that tmem's write with this seed has."""
    rng = generator(seed, "shuffle")
    return [torch.randperm(count, generator=rng).tolist() for _ in range(recipe.epochs)]


def steps_from_zero(pairs: Sequence[Example], recipe: Recipe, seed: int) -> list[Step]:
    """Rows and rate of every step of tmem's write from zero with this seed, where it has no noise and no lanes."""
    fresh = recipe.fresh
    assert fresh is not None and not fresh.noise and not fresh.held
    count, draw, queue, found = steps_for(len(pairs), fresh), generator(seed, "fresh"), list[int](), list[Step]()
    for step in range(count):
        rows = list(range(len(pairs)))
        if len(pairs) > fresh.batch:
            if len(queue) < fresh.batch:
                queue += torch.randperm(len(pairs), generator=draw).tolist()
            rows, queue = list(dict.fromkeys(queue[: fresh.batch])), queue[fresh.batch :]
        # Drawn all the same.
        torch.randint(NOISES, (sum(len(pairs[row]) - 1 for row in rows),), generator=draw)
        found.append((rows, rate(step, count, recipe.lr, fresh)))
    return found


def run_usual(
    agent: Agent, episodes: Sequence[Episode], usual: Usual, users: Sequence[str], batched: bool
) -> list[Trajectory]:
    """The episodes that ``agent.run`` runs, the usual way, each in the empty adapter of one of ``users``.

    One after the other and every text for itself, or ``batched``: side by side, texts that are waited for generated
    together; writes are one after the other in any case.
    """
    rollouts = list(agent._rollouts(episodes))
    if not batched:
        for rollout, user in zip(rollouts, users, strict=True):
            _drive([rollout], [user], usual, together=False)
    else:
        _drive(rollouts, users, usual, together=True)
    return [rollout.trajectory for rollout in rollouts]


def _drive(rollouts: Sequence[Rollout], users: Sequence[str], usual: Usual, together: bool) -> None:
    steps = {user: rollout.read() for rollout, user in zip(rollouts, users, strict=True)}
    waits: dict[str, Any] = {}

    def go_on(user: str, result: Any) -> None:
        try:
            waits[user] = steps[user].send(result)
        except StopIteration:
            waits.pop(user, None)

    for user in users:
        go_on(user, None)
    model, recipe = rollouts[0].model, rollouts[0].agent.recipe
    while waits:
        for user, job in list(waits.items()):
            if isinstance(job, WriteJob):
                both = [*job.new, *job.old[: len(job.old) if recipe.rehearse < 0 else recipe.rehearse]]
                usual.write(user, both, recipe, orders(len(both), recipe, job.seed))
                go_on(user, _account(job))
        calls = {user: job for user, job in waits.items() if isinstance(job, Call)}
        asked = [(user, request) for user, call in calls.items() for request in call.requests]
        done: dict[str, list[Completion]] = {user: [] for user in calls}
        for batch in [asked] if together and asked else [[one] for one in asked]:
            ids = usual.generate(
                [request.prompt_ids for _, request in batch],
                [request.max_new_tokens for _, request in batch],
                [user for user, _ in batch],
                sorted(model.stop_ids),
                [JsonStop() if request.stop == "json" else None for _, request in batch],
                model.piece,
            )
            for (user, _), own in zip(batch, ids, strict=True):
                done[user].append(Completion(tuple(own), model.decode(own), (0.0,) * len(own), "stop"))
        for user, completions in done.items():
            go_on(user, completions)


def _account(job: WriteJob) -> WriteAccount:
    figures = {"loss": [], "new_loss": [], "delta_ratio": 0.0, "delta_ratio_by_site": {}, "log_sigma": {}, "ax2": {}}
    what = {"pairs": len(job.new), "rehearsed": len(job.old), "dropped": [], "steps": 0, "tokens": 0, "seconds": 0.0}
    return WriteAccount(recipe="usual", lr=0.0, seed=job.seed, applied=bool(job.new), reason=None, **what, **figures)


def _cut(ids: list[int], stop_ids: Sequence[int]) -> list[int]:
    """Up to and with the first stop token."""
    end = next((place for place, token in enumerate(ids) if token in stop_ids), len(ids))
    return ids[: end + 1]


def _batch(rows: Sequence[Example], device: torch.device) -> dict[str, Tensor]:
    """Right-padded rows with labels on their answers: what ``AutoModelForCausalLM`` takes."""
    width = max(map(len, rows))
    ids, mask, labels = [], [], []
    for row in rows:
        pad = width - len(row)
        ids.append([*row.prompt_ids, *row.answer_ids, *[0] * pad])
        mask.append([1] * len(row) + [0] * pad)
        labels.append([-100] * len(row.prompt_ids) + list(row.answer_ids) + [-100] * pad)
    return {
        "input_ids": torch.tensor(ids, device=device),
        "attention_mask": torch.tensor(mask, device=device),
        "labels": torch.tensor(labels, device=device),
    }
