"""Drawing: the right distribution, the right filters, and no row looking at another."""

from __future__ import annotations

import pytest
import torch

from tmem.model.sampling import sample

LOGITS = torch.tensor([0.1, 0.4, 0.0, 0.2, 0.3]).log()  # probabilities; token 2 never


def histogram(temperature: float, top_k: int, top_p: float) -> list[float]:
    n = 10_000
    uniform = [(i + 0.5) / n for i in range(n)]
    tokens = sample(LOGITS.expand(n, -1), [temperature] * n, [top_k] * n, [top_p] * n, uniform)
    return (tokens.bincount(minlength=5) / n).tolist()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "expected"),
    [
        (1.0, 0, 1.0, [0.1, 0.4, 0.0, 0.2, 0.3]),
        (0.5, 0, 1.0, [0.01 / 0.3, 0.16 / 0.3, 0.0, 0.04 / 0.3, 0.09 / 0.3]),
        (1.0, 2, 1.0, [0.0, 4 / 7, 0.0, 0.0, 3 / 7]),
        (1.0, 0, 0.65, [0.0, 4 / 7, 0.0, 0.0, 3 / 7]),
        (1.0, 0, 0.75, [0.0, 4 / 9, 0.0, 2 / 9, 3 / 9]),
        (1.0, 2, 0.5, [0.0, 1.0, 0.0, 0.0, 0.0]),
        (1.0, 0, 1e-6, [0.0, 1.0, 0.0, 0.0, 0.0]),
        (1.0, 99, 1.0, [0.1, 0.4, 0.0, 0.2, 0.3]),
    ],
)
def test_distribution(temperature: float, top_k: int, top_p: float, expected: list[float]) -> None:
    assert histogram(temperature, top_k, top_p) == pytest.approx(expected, abs=2e-4)


def test_a_row_does_not_depend_on_the_others() -> None:
    logits = torch.randn(8, 50, generator=torch.Generator().manual_seed(0))
    temperature, top_k = [0.5, 1.0, 1.5, 0.7] * 2, [0, 5, 0, 40, 3, 0, 0, 1]
    top_p, uniform = [1.0, 0.9, 0.5, 1.0, 0.8, 1.0, 0.3, 1.0], [i / 8 for i in range(8)]
    together = sample(logits, temperature, top_k, top_p, uniform)
    alone = [
        sample(logits[i : i + 1], temperature[i : i + 1], top_k[i : i + 1], top_p[i : i + 1], uniform[i : i + 1])
        for i in range(8)
    ]
    assert together.tolist() == torch.cat(alone).tolist()


def test_the_ends_of_the_unit_interval() -> None:
    assert sample(LOGITS[None], [1.0], [0], [1.0], [0.0]).tolist() == [0]
    assert sample(LOGITS[None], [1.0], [0], [1.0], [1 - 2**-53]).tolist() == [4]
