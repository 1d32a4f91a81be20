"""Pretraining of the embedded models: a Qwen3-shaped model that learns to read, ask, answer and extract.

    python -m tmem.training.pretrain --size nano --out runs/out/nano
    python -m tmem.training.pretrain --size small --grow runs/out/nano --seed 2 --lr 6e-4 --copying 0.02 --ramp 0.04 \
        --out runs/out/small

Copying from the context is what a model this small hardly finds by itself: it starts with an induction circuit
(``tmem.training.induction``), copies only for a while, and then conversations grow; a larger model may start as a
trained smaller one (``tmem.training.grow``), at a lower rate. Resumes from ``--out`` after any interruption: a
batch is a pure function of (seed, step). The model with its tokenizer, ready for ``tmem.model.load``, stands in
``OUT/model`` after every checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import sys
import time
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tmem.fastweights.basis import read_safetensors
from tmem.files import save_safetensors, write_json
from tmem.seeds import derive
from tmem.tasks.locomo import parse_sample, render_session
from tmem.tasks.persona import make_sample
from tmem.tasks.persona.lexicon import WORDS
from tmem.tasks.persona.world import invent
from tmem.training.branches import Batch, Row, collate, fastest_dtype, loss_of
from tmem.training.checkpoint import CHECKPOINT, optimizer_tensors, restore_optimizer
from tmem.training.grow import grow_from
from tmem.training.induction import induction_start
from tmem.training.rows import RowMaker, gold_extraction

VOCABULARY = 2048
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# What stands between the parts of an extraction's JSON costs one token each.
JSON_TOKENS = ['[{"instruction": "', '", "output": "', '"}, {"instruction": "', '"}]']
# layers, hidden, heads (of 32), key-value heads, FFN
SHAPES = {"nano": (6, 192, 6, 3, 512), "small": (8, 256, 8, 4, 768), "base": (10, 512, 16, 8, 1408)}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(seed: int, samples: int = 3000) -> Tokenizer:
    """A byte-level BPE trained on seen conversations, on plain words and invented ones; digits stand alone.

    A word at the start of a text, line or quotation gets the space that it has elsewhere: a name or a value is the
    same tokens wherever it stands, so that it can be matched and copied.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(rf"{mark}(?=[\p{{L}}\p{{N}}])"), f"{mark} ") for mark in ("\n", '"')]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    texts = []
    rng = random.Random(derive(seed, "tokenizer"))
    for index in range(samples):
        sample = make_sample(seed, index, 1, 8, "train", invented=0.2)
        texts += [render_session(session) for session in parse_sample(sample).sessions]
        texts += [f"{qa['question']} {qa.get('answer', 'No information available')}" for qa in sample["qa"]]
        texts += [gold_extraction(sample["facts"]), " ".join(invent(rng) for _ in range(10))]
        texts += [" ".join(rng.sample(WORDS, 80)), "system\n", "user\nWrite question-answer pairs.", "assistant\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(JSON_TOKENS),
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in JSON_TOKENS])
    return tokenizer


def make_model(size: str, vocabulary: int, seed: int) -> Qwen3ForCausalLM:
    """A fresh model of one of :data:`SHAPES`, initialised from the seed."""
    layers, hidden, heads, kv_heads, ffn = SHAPES[size]
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, size, "init"))
        config = Qwen3Config(
            vocab_size=vocabulary,
            head_dim=32,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=0,
            num_hidden_layers=layers,
            hidden_size=hidden,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            intermediate_size=ffn,
        )
        model = Qwen3ForCausalLM(config)
    induction_start(model, seed)
    return model


class Batches:
    """Batches by step. Eight steps' rows are made together and sorted by length, so that little is padding."""

    GROUP = 8

    def __init__(self, maker: RowMaker, args: argparse.Namespace) -> None:
        self.maker, self.args = maker, args
        self.group, self.ready = -1, list[list[Row]]()

    def at(self, step: int) -> Batch:
        group = step // self.GROUP
        if group != self.group:
            self.group, self.ready = group, self._make(group)
        return collate(self.ready[step % self.GROUP], pad=0)

    def _make(self, group: int) -> list[list[Row]]:
        progress = group * self.GROUP / self.args.steps
        rows: list[Row] = []
        total, number = 0, group * 1_000_000
        while total < self.args.tokens * self.GROUP:
            row = self.maker.row(number, progress, self.args.copying, self.args.ramp)
            rows.append(row)
            total, number = total + len(row), number + 1
        rows.sort(key=len)
        batches: list[list[Row]] = []
        share = total / self.GROUP
        for row in rows:
            if not batches or (sum(map(len, batches[-1])) >= share and len(batches) < self.GROUP):
                batches.append([])
            batches[-1].append(row)
        while len(batches) < self.GROUP:
            batches.append(batches[-1])
        random.Random(derive(self.args.seed, group, "order")).shuffle(batches)
        return batches


def rate_at(step: int, args: argparse.Namespace) -> float:
    """Linear warm-up over 100 steps, then a cosine down to a twentieth."""
    if step < 100:
        return float(args.lr * (step + 1) / 100)
    return float(args.lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / args.steps))))


def save_checkpoint(
    out: Path, step: int, model: Qwen3ForCausalLM, optimizer: torch.optim.Optimizer, tokenizer: Tokenizer
) -> None:
    """Everything needed to go on, and the model as it is now for use."""
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.named_parameters()}
    tensors |= optimizer_tensors(optimizer)
    save_safetensors(out / CHECKPOINT, tensors, {"step": str(step)})
    save_model(out / "model", model, tokenizer)


def save_model(directory: Path, model: Qwen3ForCausalLM, tokenizer: Tokenizer) -> None:
    """The model in fp16 with tokenizer, chat template and ``tmem.json``."""
    directory.mkdir(parents=True, exist_ok=True)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=SPECIALS[2], pad_token=SPECIALS[0], chat_template=CHAT_TEMPLATE
    )
    wrapped.save_pretrained(directory)
    weights = {name: value.half() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    save_safetensors(directory / "model.safetensors", weights, {"format": "pt"})
    config = model.config.to_dict() | {"dtype": "float16", "architectures": ["Qwen3ForCausalLM"]}
    write_json(directory / "config.json", config)
    if not (directory / "tmem.json").exists():
        write_json(
            directory / "tmem.json",
            {
                "prompts": "compact",
                "budget": 100,
                "lr": 0.25,
                "max_new_tokens_extract": 512,
                "max_new_tokens_answer": 24,
            },
        )


def load_checkpoint(out: Path, model: Qwen3ForCausalLM, optimizer: torch.optim.Optimizer) -> int:
    """Restore both in place; returns the step to go on from."""
    tensors, facts = read_safetensors(out / CHECKPOINT)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"model.{name}"])
    restore_optimizer(optimizer, tensors)
    return int(facts["step"])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SHAPES, default="nano")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--tokens", type=int, default=1024, help="tokens per step, about")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--copying", type=float, default=0.25, help="share of the steps that is pure copying")
    parser.add_argument("--ramp", type=float, default=0.35, help="share of the steps until texts are full-sized")
    parser.add_argument("--grow", type=Path, help="start as the smaller model that was trained in this folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--stop-at", type=int, default=None, help="stop after this step, to go on later")
    parser.add_argument("--save-every", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)

    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer_file = args.out / "tokenizer.json"
    if not tokenizer_file.exists():
        if args.grow is not None:
            shutil.copy(args.grow / "tokenizer.json", tokenizer_file)
        else:
            make_tokenizer(args.seed).save(str(tokenizer_file))
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    model = make_model(args.size, VOCABULARY, args.seed)
    if args.grow is not None:
        grow_from(Qwen3ForCausalLM.from_pretrained(args.grow / "model", dtype=torch.float32), model)
    model.to(args.device).train()
    dtype = fastest_dtype(args.device)
    if args.device == "cpu" and dtype == torch.bfloat16:
        model.set_attn_implementation("plain")
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.95),
    )
    start = load_checkpoint(args.out, model, optimizer) if (args.out / CHECKPOINT).exists() else 0
    batches = Batches(RowMaker(tokenizer, args.seed), args)
    log = (args.out / "log.jsonl").open("a")
    began, seen, recent = time.perf_counter(), 0, 0.0
    end = min(args.steps, args.stop_at or args.steps)
    for step in range(start, end):
        batch = batches.at(step)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, args)
        loss = loss_of(model.model, model.lm_head, batch, args.device, dtype)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += int(batch.input_ids.numel())
        recent = loss.item() if recent == 0.0 else 0.98 * recent + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            speed = seen / (time.perf_counter() - began)
            record = {"step": step + 1, "loss": round(recent, 4), "tokens_per_s": round(speed)}
            log.write(json.dumps(record) + "\n")
            log.flush()
            print(f"step {step + 1}/{args.steps} loss {recent:.4f} {speed:.0f} tokens/s", file=sys.stderr)
        if (step + 1) % args.save_every == 0 or step + 1 == end:
            save_checkpoint(args.out, step + 1, model, optimizer, tokenizer)


if __name__ == "__main__":
    main()
