"""Blocks: every pair in one, none too large, and what is far from a change stays as it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tmem.fastweights.blocks import block_key, blocks, pair_key

KEYS = st.lists(st.integers(0, 2**63 - 1), max_size=300)


@given(KEYS, st.integers(4, 64))
def test_every_pair_is_in_one_block_and_none_is_too_large(keys: list[int], most: int) -> None:
    parts = blocks(keys, most)
    assert [place for part in parts for place in part] == list(range(len(keys)))
    assert all(0 < len(part) <= most for part in parts)
    assert all(len(part) >= most // 4 for part in parts[:-1])


def test_a_pair_taken_out_or_added_changes_few_blocks() -> None:
    keys = [pair_key(f"What is thing {number}?", "this") for number in range(2000)]

    def numbers(own: list[int]) -> set[int]:
        return {block_key(own[part.start : part.stop]) for part in blocks(own, 64)}

    before = numbers(keys)
    assert 40 < len(before) < 100
    for gone in (0, 700, 1999):
        assert len(before - numbers(keys[:gone] + keys[gone + 1 :])) <= 4
    assert len(before - numbers([*keys, pair_key("And this?", "yes")])) <= 1


def test_a_block_is_named_by_its_pairs_in_their_order() -> None:
    one, other = pair_key("a", "b"), pair_key("b", "a")
    assert one != other and block_key([one, other]) != block_key([other, one])
