"""Supervised training of theta_0: prompts, and the replies that are wanted. ``tmem train sft``.

Rows are JSON lines as TRL has them: ``{"prompt": [messages], "completion": [the assistant's message]}``, or
``{"messages": [...]}`` that end with the assistant's. Neighbouring rows of one system message are read together: the
text once, and each prompt in a branch of its own. Only replies are learnt from, every token alike.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from tmem.errors import DataError, Diverged, UsageError
from tmem.evaluation.records.spec import open_run
from tmem.fastweights.target_modules import decoder
from tmem.files import append_line, check_folder, read_jsonl, sha256
from tmem.model import Model
from tmem.model.adapter import WEIGHTS
from tmem.seeds import derive
from tmem.training import checkpoint
from tmem.training.branches import Batch, Row, collate, fastest_dtype, loss_of, window
from tmem.training.checkpoint import ABOUT, METRICS, forget_after
from tmem.training.slow_lora import save_slow_lora, trainable

WARM_UP = 0.05  # of the steps, to the full rate; from there it falls along a cosine
LEAST_RATE = 0.05  # of the full one, at the end
WINDOW = 16  # steps whose rows are sorted by length, so that little is padding
STEPS = "sft_steps"
Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Config:
    """All that decides what is learnt. ``data``: digests of the files, in their order.

    ``tokens`` of a step, padding included. ``slow_lora``: its rank, 0 trains all weights; ``adapter``: digest of the
    one that it begins as, "" for none. ``held_out``: rows that are only looked at (each with what shares its system
    message).
    """

    data: tuple[str, ...]
    epochs: int = 1
    tokens: int = 2_048
    lr: float = 1e-3
    slow_lora: int = 32
    adapter: str = ""
    grad_norm: float = 1.0
    held_out: int = 32
    seed: int = 1


@dataclass(frozen=True)
class Running:
    """How the work is done; changes no result."""

    save_every: int = 50
    eval_every: int = 200
    stop_at: int | None = None  # a step


class Trainer:
    """One training in a folder; made again with the same configuration it goes on where it was.

    Raises :class:`UsageError` and :class:`DataError` for what cannot work, before any work is done.
    """

    def __init__(
        self,
        config: Config,
        files: Sequence[Path],
        model: Model,
        folder: Path,
        running: Running,
        adapter: Path | None = None,
    ) -> None:
        self.config, self.model, self.folder, self.running = config, model, folder, running
        check_folder(folder)
        rows = [row for path in files for row in read_rows(path, model, config.tokens)]
        order = random.Random(derive(config.seed, "held out")).sample(range(len(rows)), min(config.held_out, len(rows)))
        self.held_out = [rows[place] for place in order]
        self.rows = [row for row in rows if row not in self.held_out]  # a file may be given several times
        if not self.rows:
            raise UsageError(
                f"{len(rows)} rows, of which {config.held_out} are held out: nothing is left to learn from"
            )
        self.plan = [batch for epoch in range(config.epochs) for batch in batches(self.rows, config, epoch)]
        folder.mkdir(parents=True, exist_ok=True)
        about = {**asdict(config), "model": model.name, "model_hash": model.weights_hash, "dtype": model.dtype}
        about = json.loads(json.dumps({**about, "version": version("tmem")}))
        open_run(folder, about, "", ABOUT)
        self.identity = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        self.trained = self._choose(adapter)
        self.optimizer = torch.optim.AdamW(self.trained.values(), lr=config.lr, betas=(0.9, 0.95), weight_decay=0.0)
        self.step = checkpoint.restore(folder, self.identity, self.trained, self.optimizer)
        forget_after(folder / METRICS, self.step)

    def _choose(self, adapter: Path | None) -> dict[str, Tensor]:
        """The parameters that are trained, by name."""
        hf = self.model.hf
        trained = trainable(hf, self.config.slow_lora, self.config.seed, adapter)
        self.dtype = fastest_dtype(self.model.device.type)
        fused_is_slow = (
            self.model.device.type == "cpu"
            and self.dtype == torch.bfloat16
            and hf.config.model_type in ("llama", "qwen2", "qwen3")
        )
        eager = hf.config._attn_implementation == "eager"  # takes no mask of true and false; others may have no caps
        hf.set_attn_implementation("plain" if eager or fused_is_slow else "sdpa")
        return trained

    # ---- the loop ----

    def train(self, tell: Tell | None = None) -> None:
        """Train to the end of the plan; ``tell`` gets the figures of every step.

        Raises :class:`Diverged` when something is not finite; the last checkpoint is left as it was.
        """
        end = min(len(self.plan), self.running.stop_at or len(self.plan))
        if self.step == 0:
            self._look(tell)
        while self.step < end:
            figures = self._learn()
            self.step += 1
            self._record({"type": "step", "step": self.step, **figures}, tell)
            last = self.step == end
            if self.step % self.running.eval_every == 0 or last:
                self._look(tell)
            if self.step % self.running.save_every == 0 or last:
                checkpoint.save(self.folder, self.step, self.identity, self.trained, self.optimizer)
        if checkpoint.exported(self.folder / "model", STEPS) != self.step:
            self._export()

    def _learn(self) -> dict[str, Any]:
        began = time.perf_counter()
        rate = self.config.lr * schedule(self.step / len(self.plan))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = [self.rows[place] for place in self.plan[self.step]]
        batch = collate(rows, pad=0)
        loss = self._loss(batch)
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.trained.values(), self.config.grad_norm))
        if not math.isfinite(norm):
            self._give_up("the loss is not finite")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        seconds = round(time.perf_counter() - began, 3)
        return {
            "loss": float(loss.detach()),
            "rate": rate,
            "gradient": norm,
            "tokens": sum(map(len, rows)),
            "learnt": len(batch.targets),
            "seconds": seconds,
        }

    def _loss(self, batch: Batch) -> Tensor:
        """Mean cross entropy of the replies' tokens."""
        hf = self.model.hf
        return loss_of(decoder(hf), self.model.head, batch, self.model.device.type, self.dtype)

    def _look(self, tell: Tell | None) -> None:
        """Record the loss on the held-out rows."""
        if not self.held_out:
            return
        losses, count = 0.0, 0
        with torch.no_grad():
            for row in self.held_out:
                batch = collate([row], pad=0)
                losses, count = losses + len(batch.targets) * float(self._loss(batch)), count + len(batch.targets)
        if not math.isfinite(losses):
            self._give_up("the loss on the held-out rows is not finite")
        self._record({"type": "held out", "step": self.step, "loss": losses / count}, tell)

    def _record(self, figures: dict[str, Any], tell: Tell | None) -> None:
        append_line(self.folder / METRICS, json.dumps(figures))
        if tell is not None:
            tell(figures)

    def _give_up(self, why: str) -> NoReturn:
        at = self.step
        self.step = checkpoint.restore(self.folder, self.identity, self.trained, self.optimizer)
        if self.step:
            self._export()
        kept = f"--model {self.folder / 'model'} begins from step {self.step}" if self.step else "none was saved yet"
        raise Diverged(f"after step {at}: {why}; give another --out and a smaller --lr; {kept}")

    def _export(self) -> None:
        """The model as others load it, and the slow LoRA alone in PEFT's format."""
        checkpoint.export(self.folder / "model", self.model, None, {"trained_from": self.model.name, STEPS: self.step})
        if self.config.slow_lora:
            save_slow_lora(self.model.hf, self.folder / "adapter", self.model.name, self.config.slow_lora)


# ---- rows ----


def read_rows(path: Path, model: Model, most: int) -> list[Row]:
    """The rows of a file, neighbours of one system message joined up to ``most`` tokens.

    Raises :class:`DataError` naming the line that is none or that is longer.
    """
    made, seen = [], min(model.window, window(model.hf) or model.window)
    for system, lines in groupby(_read(path), key=lambda one: one[1][0] if one[1][0]["role"] == "system" else one[0]):
        shares, several = isinstance(system, dict), list(lines)
        texts = [(where, *model.chat.reply(prompt, reply)) for where, prompt, reply in several]
        shared = _common([prompt for _, prompt, _ in texts]) if shares and len(texts) > 1 else 0
        row = Row(list(texts[0][1][:shared]))
        for where, prompt, reply in texts:
            longer = len(prompt) - shared + len(reply)
            if shared + longer > min(most, seen):
                widest = "the window" if seen == model.window else "what its narrowest layer sees, a window"
                room = f"the {most} of a step: raise --tokens" if most < seen else f"{widest} of {seen}"
                raise DataError(f"{where}: {shared + longer} tokens, more than {room}")
            if len(row) + longer > most:
                made.append(row)
                row = Row(list(prompt[:shared]))
            row.branches.append((list(prompt[shared:]), list(reply)))
        made.append(row)
    return made


def _read(path: Path) -> list[tuple[str, list[dict[str, str]], str]]:
    """(place, messages of the prompt, reply) of every line."""
    found = []
    for where, line in read_jsonl(path):
        messages = line.get("messages")
        if messages is None:  # not there, or as tables write what is not there
            messages = _joined(line)
        for place, one in enumerate(messages if isinstance(messages, list) else [], 1):
            if isinstance(one, dict) and isinstance(one.get("role"), str) and not isinstance(one.get("content"), str):
                raise DataError(
                    f"{where}: message {place}, of the {one['role']}, has no text as its content: only texts are "
                    "learnt from, write calls of tools as text or leave the row out"
                )
        whole = isinstance(messages, list) and len(messages) > 1 and all(_is_message(one) for one in messages)
        if not whole or messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
            raise DataError(
                f'{where}: no row: write {{"prompt": [messages], "completion": [a message of the assistant]}}, '
                'or {"messages": [...]} that end with the assistant\'s'
            )
        prompt = [{"role": one["role"], "content": one["content"]} for one in messages[:-1]]
        found.append((where, prompt, messages[-1]["content"]))
    if not found:
        raise DataError(f"{path}: no rows")
    return found


def _joined(line: dict[str, Any]) -> Any:
    """Prompt and completion as one conversation; None for what is neither."""
    prompt, completion = line.get("prompt"), line.get("completion")
    return prompt + completion if isinstance(prompt, list) and isinstance(completion, list) else None


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("role", "content"))


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all begin with; of each at least one is left over."""
    first, most = prompts[0], min(map(len, prompts)) - 1
    return next((place for place in range(most) if any(one[place] != first[place] for one in prompts)), most)


def batches(rows: Sequence[Row], config: Config, epoch: int) -> list[list[int]]:
    """The places of each step's rows, all of them once: rows of like length, at most ``config.tokens`` with padding."""
    draw = random.Random(derive(config.seed, epoch, "order"))
    order = draw.sample(range(len(rows)), len(rows))
    made: list[list[int]] = []
    while order:
        taken, size = 0, 0
        while taken < len(order) and size < WINDOW * config.tokens:
            size, taken = size + len(rows[order[taken]]), taken + 1
        window, order = sorted(order[:taken], key=lambda place: len(rows[place])), order[taken:]
        steps: list[list[int]] = [[]]
        for place in window:
            if steps[-1] and (len(steps[-1]) + 1) * len(rows[place]) > config.tokens:
                steps.append([])
            steps[-1].append(place)
        made += draw.sample(steps, len(steps))
    return made


def schedule(done: float) -> float:
    """The share of the full rate after a share of the steps."""
    if done < WARM_UP:
        return done / WARM_UP + 1e-3
    return LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def config_of(files: Sequence[Path], adapter: Path | None = None, **chosen: Any) -> Config:
    """The configuration for these files, and the adapter to begin as.

    Raises :class:`UsageError` for a file that is not there.
    """
    for path in files:
        if not path.is_file():
            raise UsageError(f"{path}: no such file; give rows in JSON lines")
    weights = None if adapter is None else adapter / WEIGHTS
    if weights is not None and not weights.is_file():
        raise UsageError(f"{adapter}: no adapter; give a folder with {WEIGHTS}, such as the adapter of a training")
    digest = "" if weights is None else sha256(weights)
    return Config(tuple(sha256(path) for path in files), adapter=digest, **chosen)
