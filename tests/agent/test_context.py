import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmem.agent.context import WorkingContext, pack
from tmem.errors import UsageError


def words(text: str) -> int:
    return len(text.split())


def test_triggers_when_the_budget_is_exceeded_not_when_it_is_reached():
    packed = pack(["a b", "c d", "e", "f g h i j k", "l"], budget=4, count=words)
    assert packed.triggers == [[0, 1, 2], [3]]
    assert packed.tail == [4]


def test_the_tail_may_be_empty():
    assert pack(["a b c"], budget=2, count=words).tail == []
    packed = pack([], budget=2, count=words)
    assert (packed.triggers, packed.tail) == ([], [])


def test_the_joiner_is_counted():
    assert pack(["ab", "cd"], budget=4, count=len).triggers == [[0, 1]]  # "ab\n\ncd" has 6
    assert pack(["ab", "cd"], budget=4, count=len, joiner="").triggers == []


def test_working_context_hands_out_whole_units_and_clears():
    context = WorkingContext(budget=3, count=words)
    assert context.append("a b c") is None
    assert context.append("d") == ["a b c", "d"]
    assert context.text == ""
    assert context.append("e") is None
    assert context.text == "e"


def test_a_budget_below_one_is_refused():
    with pytest.raises(UsageError, match="budget"):
        WorkingContext(budget=0, count=words)


@given(st.lists(st.text("ab ", max_size=12), max_size=20), st.integers(1, 15))
def test_packing_loses_nothing_and_cuts_at_the_first_excess(units: list[str], budget: int):
    packed = pack(units, budget, words)
    assert [index for part in [*packed.triggers, packed.tail] for index in part] == list(range(len(units)))

    def size(indices: list[int]) -> int:
        return words("\n\n".join(units[index] for index in indices))

    assert all(size(trigger) > budget >= size(trigger[:-1]) for trigger in packed.triggers)
    assert size(packed.tail) <= budget
