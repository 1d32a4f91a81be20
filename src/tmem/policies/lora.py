"""The peer's write (SEAL, arXiv 2506.10943): a LoRA on all linear layers by peft, trained on texts and given pairs.

It changes the model itself while its episode runs, so such episodes run one at a time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tmem.agent.rollout import Rollout, Steps, TailUse
from tmem.agent.trajectory import Write
from tmem.errors import UsageError
from tmem.fastweights import Example, WriteAccount
from tmem.fastweights.target_modules import linear_names
from tmem.model import Model
from tmem.policies.plain import Plain
from tmem.seeds import derive, generator

# As published for one passage at a time; with a LoRA for many passages at once there are fewer epochs.
RANK, ALPHA, RATE, EPOCHS, EPOCHS_TOGETHER = 32, 64, 1e-3, 10, 3
LONGEST = 2048  # tokens of a text
UNLEARNT = -100  # the label of a token without a loss


class Lora(Plain):
    """What is read is trained into a LoRA, one trigger context after the other; answers see the question alone."""

    name = "lora"
    alone = True
    tail: TailUse = "observed"

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(rollout)
        self.peer: _Peer | None = None
        self.trained = 0  # tokens of all epochs

    def observe(self, units: Sequence[int]) -> Steps[None]:
        yield from ()
        rollout, read = self.rollout, set(units)
        texts = [text for text, unit in rollout.episode.texts if unit in read] or [
            rollout.units[unit] for unit in units
        ]
        rows = [self._row(text) for text in texts]
        rows += [
            rollout.model.example(question, answer) for question, answer, unit in rollout.episode.gold if unit in read
        ]
        self.peer = self.peer or _Peer(rollout.model, derive(rollout.agent.seed, rollout.key, "lora"))
        with rollout.timed("write"):
            account = self.peer.train(rows, EPOCHS if len(read) == 1 else EPOCHS_TOGETHER)
        rollout.trajectory.writes.append(
            Write(
                len(rollout.trajectory.actions) - 1,
                tuple(units),
                rollout.model.count(rollout.text(units)),
                "ok",
                [],
                [],
                account,
            )
        )
        self.trained += account.tokens

    def _row(self, text: str) -> Example:
        """A text of which every token is learnt."""
        end = self.rollout.model.tokenizer.eos_token_id
        chat = self.rollout.model.chat
        ids = [*chat.encode(chat.literal(text)), *([] if end is None else [end])][:LONGEST]
        return Example(tuple(ids[:1]), tuple(ids[1:]))

    def close(self) -> None:
        if self.peer is not None:
            self.peer.remove()
            self.peer = None

    def size(self) -> dict[str, int]:
        """The tokens that it was trained on, each as often as it was read."""
        return {"tokens": self.trained}


class _Peer:
    """A LoRA in a model, until it is removed."""

    def __init__(self, model: Model, seed: int) -> None:
        try:
            from peft import LoraConfig, LoraModel
        except ImportError:
            raise UsageError("the memory lora needs the extra rl: pip install 'tmem[rl]'") from None
        self.model, self.seed, self.runs = model, seed, 0
        config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=linear_names(model.hf))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tuner: Any = LoraModel(model.hf, config, "default")
        self.values = [value for name, value in model.hf.named_parameters() if ".lora_" in name]

    def train(self, rows: Sequence[Example], epochs: int) -> WriteAccount:
        """AdamW without decay of weights, one row a step, the rate falling to zero, gradients clipped at norm 1."""
        began = time.perf_counter()
        rows = [row for row in rows if row.answer_ids]
        steps, draw = epochs * len(rows), generator(self.seed, self.runs, "order")
        self.runs += 1
        optimizer = torch.optim.AdamW(self.values, lr=RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / max(steps, 1))
        losses = []
        with torch.enable_grad():
            for _ in range(epochs):
                epoch = []
                for place in torch.randperm(len(rows), generator=draw).tolist():
                    prompt, answer = rows[place].prompt_ids, rows[place].answer_ids
                    ids = torch.tensor([[*prompt, *answer]], device=self.model.device)
                    labels = torch.tensor([[*[UNLEARNT] * len(prompt), *answer]], device=self.model.device)
                    loss = self.model.hf(input_ids=ids, labels=labels).loss
                    loss.backward()
                    nn.utils.clip_grad_norm_(self.values, 1.0)
                    optimizer.step()
                    optimizer.zero_grad()
                    schedule.step()
                    epoch.append(float(loss.detach()))
                losses.append(sum(epoch) / len(epoch) if epoch else math.nan)
        finite = all(math.isfinite(loss) for loss in losses)
        return WriteAccount(
            recipe="lora",
            lr=RATE,
            seed=self.seed,
            pairs=len(rows),
            rehearsed=0,
            dropped=[],
            steps=steps,
            tokens=epochs * sum(map(len, rows)),
            loss=losses,
            new_loss=losses,
            delta_ratio=0.0,
            delta_ratio_by_site={},
            log_sigma={},
            ax2={},
            seconds=time.perf_counter() - began,
            applied=finite,
            reason=None if finite else "the loss was not finite",
        )

    def remove(self) -> None:
        """Leave the model as it was."""
        self.tuner.unload()
        vars(self.model.hf).pop("peft_config", None)  # newer peft takes it away itself
