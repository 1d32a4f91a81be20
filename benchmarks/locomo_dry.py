"""Everything about LoCoMo but the model: every memory reads all ten conversations and is asked all 1,986 questions.

    python benchmarks/locomo_dry.py locomo10.json

Packing, prompts, writes of nothing, post-processing and scoring are real; replies come from a script ("[]" for
extractions, "No information available" for the rest), the tokenizer is trained on the spot and has about Qwen's
token count. Prints what each memory would cost, and checks two known scores of the file: of its own golds, and of the
constant answer. Two processes take the memories in turn.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tmem.evaluation.records import life_records
from tmem.evaluation.spec import Spec
from tmem.memory import MEMORIES
from tmem.model import Completion, Request, load
from tmem.tasks.locomo import LoCoMo
from tmem.tasks.scoring import SCORERS

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONSTANT = "No information available"


def make_model(folder: Path, data: Path) -> None:
    """A Qwen3-shaped model of no use but its tokenizer's, which is trained on the conversations."""
    texts = [text for task in LoCoMo(data, official=True).tasks(1) for text in task.episode.units]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=8000, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=special[2], chat_template=CHAT).save_pretrained(folder)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
    config = Qwen3Config(vocab_size=8000, head_dim=16, num_key_value_heads=1, max_position_embeddings=40_960, **shape)
    Qwen3ForCausalLM(config).save_pretrained(folder)


class Script:
    """An engine that reads nothing."""

    def __init__(self) -> None:
        self.calls = self.tokens = self.longest = 0

    def generate(self, requests: Sequence[Request], *_: Any, **__: Any) -> list[Completion]:
        lengths = [len(request.prompt_ids) for request in requests]
        self.calls, self.tokens, self.longest = (
            self.calls + len(requests),
            self.tokens + sum(lengths),
            max(self.longest, *lengths),
        )
        return [Completion((), "[]" if request.stop == "json" else CONSTANT, (), "stop") for request in requests]


def dry(memory: str, folder: Path, data: Path) -> dict[str, Any]:
    """One memory over the whole file."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    model = load(folder)
    spec = Spec("locomo", {"path": data}, str(folder))
    bench, script = spec.benchmark(model), Script()
    agent = replace(spec.agent(model, memory, 1), engine=script)
    tasks = {task.episode.id: task for task in bench.tasks(1)}
    triggers = episodes = 0
    scores: list[dict[str, Any]] = []
    for _, life in agent.stream(task.episode for task in tasks.values()):
        triggers, episodes = triggers + life.triggers, episodes + 1
        records = life_records(bench, tasks[life.episode], life, agent)
        scores += [record["scores"] for record in records if record["type"] == "question"]
    return {
        "memory": memory,
        "questions": len(scores),
        "episodes": episodes,
        "triggers": triggers,
        "calls": script.calls,
        "prompt tokens": script.tokens,
        "longest prompt": script.longest,
        "F1": round(100 * sum(score["tmem_token"]["f1"] for score in scores) / len(scores), 2),
        "seconds": round(time.perf_counter() - started, 1),
    }


def known_scores(data: Path) -> dict[str, float]:
    """The gold answers as predictions, and a constant answer, scored by every rule."""
    items = [item for task in LoCoMo(data, official=True).tasks(1) for item in task.items]

    def total(scorer: str, key: str, constant: str | None) -> float:
        found = [SCORERS[scorer](constant or item.gold[0], item.gold, item.category) for item in items]
        return round(100 * sum(getattr(score, key) for score in found) / len(found), 2)

    return {
        "golds, official": total("locomo_official", "f1", None),
        "constant, official": total("locomo_official", "f1", CONSTANT),
        "constant, F1": total("tmem_token", "f1", CONSTANT),
        "constant, EM": total("tmem_token", "em", CONSTANT),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--memory", nargs="+", default=[name for name in MEMORIES if name != "mem1"])
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        make_model(Path(temporary), args.data)
        with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
            jobs = [pool.submit(dry, memory, Path(temporary), args.data) for memory in args.memory]
            for job in jobs:
                print(json.dumps(job.result()), flush=True)
    print(json.dumps(known_scores(args.data)))
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
