"""What the engine's shortcuts are worth here: each beside the plain way, in one run (`make bench`).

Both ways give the same result (the tests compare them); the ratio is what carries to other machines.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from transformers import Qwen3Config, Qwen3ForCausalLM

from tmem.fastweights import Basis, Delta, Example, FastWeights, TailReplay, get_recipe, write
from tmem.fastweights.basis import _top_singular
from tmem.fastweights.replay import plain_logits
from tmem.model import HFEngine, Request, load

SESSIONS, PAIRS, REPEATS = 16, 8, 3


def deep_model() -> Qwen3ForCausalLM:
    """The proportions of Qwen3-4B on a small scale: most layers lie below the four adapted ones."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=32_000,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=28,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=32,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval().requires_grad_(False)


def pairs(count: int, vocabulary: int) -> list[Example]:
    rng = torch.Generator().manual_seed(1)
    ids = torch.randint(8, vocabulary, (count, 24), generator=rng).tolist()
    return [Example(tuple(row[:18]), tuple(row[18:]), str(number)) for number, row in enumerate(ids)]


def compare(fast: Callable[[], object], plain: Callable[[], object]) -> tuple[float, float]:
    """Best seconds of both, measured in turn."""
    best = [float("inf"), float("inf")]
    for _ in range(REPEATS):
        for place, run in enumerate((fast, plain)):
            started = time.perf_counter()
            run()
            best[place] = min(best[place], time.perf_counter() - started)
    return best[0], best[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    results: dict[str, tuple[float, float]] = {}

    deep = deep_model()
    recipe = get_recipe("paper", lr=1e-3)
    fast = FastWeights(deep, Basis.from_model(deep))
    replay = TailReplay(deep, fast.sites[0].layer)
    new = [pairs(PAIRS, 32_000) for _ in range(SESSIONS)]
    seeds = list(range(SESSIONS))
    zero = fast.zeros(SESSIONS)
    results[f"write of {SESSIONS} sessions: layers below the adapted ones run once"] = compare(
        lambda: write(fast, zero, new, recipe, seeds, replay=replay),
        lambda: write(fast, zero, new, recipe, seeds),
    )
    results[f"write of {SESSIONS} sessions: one batch against one by one"] = compare(
        lambda: write(fast, zero, new, recipe, seeds, replay=replay),
        lambda: [write(fast, fast.zeros(1), [new[s]], recipe, [s], replay=replay) for s in seeds],
    )
    ids = torch.randint(0, 32_000, (16, 256), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    keep = torch.zeros_like(ids, dtype=torch.bool)
    keep[:, -7:-1] = True
    targets = ids[:, 1:][keep[:, :-1]]

    def whole() -> torch.Tensor:
        with torch.no_grad():
            return F.cross_entropy(deep(input_ids=ids, attention_mask=mask).logits[keep], targets)

    def answers() -> torch.Tensor:
        with torch.no_grad():
            return F.cross_entropy(plain_logits(deep, ids, mask, keep), targets)

    results["loss of 16 x 256 tokens: LM head on answer positions only"] = compare(answers, whole)

    weight = torch.randn(2048, 1024, generator=torch.Generator().manual_seed(3))
    results["basis of one 2048 x 1024 matrix: Gram matrix against full SVD"] = compare(
        lambda: _top_singular(weight, 6), lambda: torch.linalg.svd(weight, full_matrices=False)
    )

    nano = load("persona-nano")
    own = nano.fast(nano.recipe("tmem"))
    engine = HFEngine(nano)
    memories = Delta({name: torch.randn_like(b) * 1e-3 for name, b in own.zeros(SESSIONS).b.items()}, own.basis.digest)
    prompt = tuple(nano.encode_chat([{"role": "user", "content": "Where does Ana live?"}]))
    requests = [Request(prompt, memory=row, max_new_tokens=8) for row in range(SESSIONS)]
    results[f"answers from {SESSIONS} memories (persona-nano): one batch against one by one"] = compare(
        lambda: engine.generate(requests, memories, own),
        lambda: [engine.generate([request], memories, own) for request in requests],
    )

    if as_json:
        print(
            json.dumps({name: {"seconds": a, "plain_seconds": b, "ratio": b / a} for name, (a, b) in results.items()})
        )
        return
    table = Table(title=f"{torch.get_num_threads()} threads, torch {torch.__version__}", title_justify="left")
    for column in ("what", "ours, s", "plain, s", "ratio"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, (ours, plain) in results.items():
        table.add_row(name, f"{ours:.3f}", f"{plain:.3f}", f"{plain / ours:.1f}x")
    Console().print(table)


if __name__ == "__main__":
    main()
