"""Cutting a write into passes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tmem.fastweights import Example
from tmem.fastweights.dataset import ExampleDataset

TEXTS = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 60)), min_size=1, max_size=60)  # prompt, answer


@given(TEXTS, st.integers(1, 200))
def test_passes_have_every_row_once_and_keep_their_bounds(texts: list[tuple[int, int]], most: int) -> None:
    dataset = ExampleDataset(
        [Example((1,) * prompt, (2,) * answer) for prompt, answer in texts], torch.device("cpu"), None
    )
    passes = dataset.passes(range(len(texts)), most)
    assert sorted(row for rows in passes for row in rows) == list(range(len(texts)))
    lengths = [[dataset.lengths[row] for row in rows] for rows in passes]
    assert [length for rows in lengths for length in rows] == sorted(dataset.lengths, reverse=True)
    for rows, own in zip(passes, lengths, strict=True):
        if len(rows) > 1:
            assert len(own) * own[0] <= ExampleDataset.cpu_tokens
            assert len(own) * own[0] - sum(own) <= ExampleDataset.cpu_padding
            assert sum(dataset.answers[row] for row in rows) <= most


def test_no_pass_begins_without_need() -> None:
    dataset = ExampleDataset(
        [Example((1,) * length, (2,)) for length in (10, 90, 20, 90, 70, 10)], torch.device("cpu"), None
    )
    assert dataset.passes([0, 1, 2, 3, 4, 5]) == [[1, 3, 4], [2, 0, 5]]  # 20 tokens of padding each
    assert dataset.passes([5, 2, 0]) == [[2, 5, 0]]
