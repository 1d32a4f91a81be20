"""What a training step of the paper's size needs, counted from the shapes of the models; nothing is run or measured.

    python benchmarks/rl_sizing.py

Prints a Markdown table. 64 tasks of 8 lives; a LoCoMo question is lived through 4.7 trigger contexts of 4,096 tokens
(benchmarks/locomo_dry.py) with extractions of some 500 tokens, and its answer sees a tail of half a context.
"""

from __future__ import annotations

from dataclasses import dataclass

LIVES, TRIGGERS, CONTEXT, EXTRACTION, ANSWER = 64 * 8, 4.7, 4096, 500, 20
PROMPT = 300  # tokens of an extraction's instructions
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

    @property
    def cache(self) -> int:
        """Bytes of keys and values of a token, in bf16."""
        return 2 * self.layers * self.kv_heads * self.head * 2


SHAPES = [
    Shape("Qwen3-0.6B", 28, 1024, 3072, 16, 8, 128, 151_936, True),
    Shape("Qwen3-4B", 36, 2560, 9728, 32, 8, 128, 151_936, True),
    Shape("Qwen3-8B", 36, 4096, 12_288, 32, 8, 128, 151_936, False),
]


def main() -> None:
    extractions = LIVES * TRIGGERS
    read = extractions * (CONTEXT + PROMPT) + LIVES * (CONTEXT / 2 + 100)
    written = extractions * EXTRACTION + LIVES * ANSWER
    rows = {
        "parameters, billions": lambda s: f"{s.parameters / GB:.2f}",
        "weights in bf16, GB": lambda s: f"{2 * s.parameters / GB:.1f}",
        "all weights trained in float32 (weights, gradient, AdamW), GB": lambda s: f"{16 * s.parameters / GB:.0f}",
        "slow LoRA of rank 64 (weights, gradient, AdamW), GB": lambda s: f"{16 * s.lora(64) / GB:.1f}",
        "one memory, MB": lambda s: f"{4 * s.delta() / 1e6:.2f}",
        "memories of a step, one per life and trigger, GB": lambda s: f"{4 * s.delta() * extractions / GB:.1f}",
        "keys and values of a full context, GB": lambda s: f"{s.cache * (CONTEXT + PROMPT + EXTRACTION) / GB:.2f}",
        "logits of 1,024 positions, GB": lambda s: f"{4 * 1024 * s.vocabulary / GB:.2f}",
        "tokens read in a step, millions": lambda s: f"{read / 1e6:.1f}",
        "tokens generated in a step, millions": lambda s: f"{written / 1e6:.1f}",
        "operations of a step, 10^15": lambda s: f"{2 * s.parameters * (4 * (read + written)) / 1e15:.0f}",
    }
    print("| | " + " | ".join(shape.name for shape in SHAPES) + " |")
    print("|---" * (len(SHAPES) + 1) + "|")
    for name, value in rows.items():
        print(f"| {name} | " + " | ".join(value(shape) for shape in SHAPES) + " |")


if __name__ == "__main__":
    main()
