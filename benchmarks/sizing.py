"""What memories and training need on models of the Qwen3 family, counted from their shapes; nothing is run or measured.

    python benchmarks/sizing.py memory
    python benchmarks/sizing.py rl

Prints a Markdown table. ``memory``: what a user costs, and a write of 16 pairs of some 30 tokens with answers of five.
``rl``: a step of 64 tasks of 8 rollouts; a LoCoMo question takes 4.7 trigger contexts of 4,096 tokens
(benchmarks/locomo_dry.py) with extractions of some 500 tokens, and its answer sees a tail of half a context. One
of eight processes generates for 64 rollouts at once and learns from 16,384 tokens at once, with ``--recompute``; it
does one after the other, so that its total has the larger of the two.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from transformers import PretrainedConfig

LIVES, TRIGGERS, CONTEXT, EXTRACTION, ANSWER = 64 * 8, 4.7, 4096, 500, 20
PROMPT = 300  # tokens of an extraction's instructions
PROCESSES, AT_ONCE, LEARNT = 8, 64, 16_384  # of runs/rl_qwen3_4b.sh; rollouts and tokens of one process
GB = 1e9


@dataclass(frozen=True)
class Shape:
    name: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(in, out) of every linear of a layer."""
        query, keys = self.heads * self.head, self.kv_heads * self.head
        h, f = self.hidden, self.ffn
        return [(h, query), (h, keys), (h, keys), (query, h), (h, f), (h, f), (f, h)]

    @property
    def parameters(self) -> int:
        embedding = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * sum(a * b for a, b in self.linears) + embedding

    def lora(self, rank: int) -> int:
        return self.layers * sum(rank * (a + b) for a, b in self.linears)

    def delta(self, layers: int = 4, rank: int = 6) -> int:
        """Numbers in B of one memory: the outputs of gate, up and down."""
        return layers * rank * (2 * self.ffn + self.hidden)

    @classmethod
    def of(cls, config: PretrainedConfig) -> Shape:
        c = config
        kv, head = c.num_key_value_heads, c.head_dim
        return cls(
            "",
            c.num_hidden_layers,
            c.hidden_size,
            c.intermediate_size,
            c.num_attention_heads,
            kv,
            head,
            c.vocab_size,
            True,
        )

    def forward(self, tokens: int, logits: int) -> int:
        """Operations of the matrix products of a forward pass with ``logits`` positions through the head."""
        return 2 * (tokens * self.layers * sum(a * b for a, b in self.linears) + logits * self.hidden * self.vocabulary)

    def write(self, read: int, answers: int, epochs: int = 5) -> int:
        """Operations of a write's matrix products: ``read`` tokens in all, ``answers`` of them predicted.

        The layers below the last four and one attention run once. In every epoch: one feed-forward block, two layers,
        keys and values of the last one, what else it does at the answers only, and the head there; and back again, but
        not below the first gate and up.
        """
        query, keys, *_ = (a * b for a, b in self.linears)
        ffn, attention = 3 * self.hidden * self.ffn, 2 * (query + keys)
        once = read * ((self.layers - 4) * (attention + ffn) + attention)
        at_answers = answers * (2 * query + ffn + self.hidden * self.vocabulary)
        up = read * (ffn + 2 * (attention + ffn) + 2 * keys) + at_answers
        return 2 * (once + epochs * (2 * up - read * ffn * 2 // 3))

    def usual_write(self, read: int, epochs: int = 5) -> int:
        """The same with a whole forward pass and all logits in every epoch, and back to the first adapted layer."""
        ffn, layer = 3 * self.hidden * self.ffn, sum(a * b for a, b in self.linears)
        back = read * (self.hidden * self.vocabulary + 3 * layer + ffn // 3)
        return epochs * (self.forward(read, read) + 2 * back)

    def process(self, slow_lora: int, at_once: int) -> tuple[float, float, float]:
        """Bytes: keys and values of the rollouts at once, activations of a batch of learning, and all of a process.

        Recomputed, every layer keeps what goes into it, and one at a time what goes into and out of its matrices; a
        slow LoRA reads and writes these in float32 once more. Three times the logits: with their softmax and gradient.
        All weights are trained in float32, under a slow LoRA they lie in bf16.
        """
        size = 2 if slow_lora else 4
        cache = at_once * (CONTEXT + PROMPT + EXTRACTION) * self.cache * size / 2
        layer = sum(a + b for a, b in self.linears) * (size + 4 if slow_lora else size)
        activations = LEARNT * (self.layers * self.hidden * size + layer) + 3 * 4 * 1024 * self.vocabulary
        trained = (4 + 4 + 8 / PROCESSES) * (self.lora(slow_lora) if slow_lora else self.parameters)
        weights = trained + (2 * self.parameters if slow_lora else 0)
        return cache, activations, weights + max(cache, activations)

    @property
    def cache(self) -> int:
        """Bytes of keys and values of a token, in bf16."""
        return 2 * self.layers * self.kv_heads * self.head * 2


SHAPES = [
    Shape("Qwen3-0.6B", 28, 1024, 3072, 16, 8, 128, 151_936, True),
    Shape("Qwen3-4B", 36, 2560, 9728, 32, 8, 128, 151_936, True),
    Shape("Qwen3-8B", 36, 4096, 12_288, 32, 8, 128, 151_936, False),
]


Rows = dict[str, Callable[[Shape], str]]


def rl() -> Rows:
    extractions = LIVES * TRIGGERS
    read = extractions * (CONTEXT + PROMPT) + LIVES * (CONTEXT / 2 + 100)
    written = extractions * EXTRACTION + LIVES * ANSWER
    return {
        "parameters, billions": lambda s: f"{s.parameters / GB:.2f}",
        "weights in bf16, GB": lambda s: f"{2 * s.parameters / GB:.1f}",
        "all weights trained in float32 (weights, gradient, AdamW), GB": lambda s: f"{16 * s.parameters / GB:.0f}",
        "the same in each of 8 processes (the moments shared out), GB": lambda s: (
            f"{(8 + 8 / PROCESSES) * s.parameters / GB:.0f}"
        ),
        "slow LoRA of rank 64 (weights, gradient, AdamW), GB": lambda s: f"{16 * s.lora(64) / GB:.1f}",
        "one memory, MB": lambda s: f"{4 * s.delta() / 1e6:.2f}",
        "memories of a step, one per rollout and trigger, GB": lambda s: f"{4 * s.delta() * extractions / GB:.1f}",
        "keys and values of a full context, GB": lambda s: f"{s.cache * (CONTEXT + PROMPT + EXTRACTION) / GB:.2f}",
        "keys and values of 64 rollouts at once, GB (estimate)": lambda s: f"{s.process(64, AT_ONCE)[0] / GB:.0f}",
        "activations of 16,384 tokens with --recompute, GB (estimate)": lambda s: (
            f"{s.process(64, AT_ONCE)[1] / GB:.0f}"
        ),
        "in all of one of 8 processes, slow LoRA, GB (estimate)": lambda s: f"{s.process(64, AT_ONCE)[2] / GB:.0f}",
        "the same, all weights and 16 rollouts at once, GB (estimate)": lambda s: f"{s.process(0, 16)[2] / GB:.0f}",
        "logits of 1,024 positions, GB": lambda s: f"{4 * 1024 * s.vocabulary / GB:.2f}",
        "tokens read in a step, millions": lambda s: f"{read / 1e6:.1f}",
        "tokens generated in a step, millions": lambda s: f"{written / 1e6:.1f}",
        "operations of a step, 10^15": lambda s: f"{2 * s.parameters * (4 * (read + written)) / 1e15:.0f}",
    }


def memory() -> Rows:
    read, answers = 16 * 29, 16 * 5
    return {
        "weights in bf16, GB": lambda s: f"{2 * s.parameters / GB:.1f}",
        "A, shared by all users, MB": lambda s: f"{4 * 4 * 6 * (2 * s.hidden + s.ffn) / 1e6:.2f}",
        "B of a user in float32, MB": lambda s: f"{4 * s.delta() / 1e6:.2f}",
        "users per GB": lambda s: f"{GB / (4 * s.delta()):,.0f}",
        "keys and values of 1,000 tokens of a user being served, MB": lambda s: f"{1000 * s.cache / 1e6:.0f}",
        "write of 16 pairs, 10^12 operations": lambda s: f"{s.write(read, answers) / 1e12:.2f}",
        "the same the usual way": lambda s: f"{s.usual_write(read) / 1e12:.2f}",
        "estimated seconds at 100 * 10^9 operations a second (two CPU cores)": lambda s: (
            f"{s.write(read, answers) / 1e11:.0f}"
        ),
        "estimated seconds at 100 * 10^12 (a GPU with many users in a batch)": lambda s: (
            f"{s.write(read, answers) / 1e14:.3f}"
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "rl"])
    rows = {"memory": memory, "rl": rl}[parser.parse_args().what]()
    print("| | " + " | ".join(shape.name for shape in SHAPES) + " |")
    print("|---" * (len(SHAPES) + 1) + "|")
    for name, value in rows.items():
        print(f"| {name} | " + " | ".join(value(shape) for shape in SHAPES) + " |")


if __name__ == "__main__":
    main()
