"""The write from zero: equal to a hand-written Adam and to single writes; what cannot be trained ends at zero."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers import CORE_FAMILIES, examples, tiny

from tmem.errors import UsageError, WriteError
from tmem.fastweights import (
    Basis,
    Delta,
    Example,
    FastWeights,
    Fresh,
    Lesson,
    Recipe,
    TailReplay,
    get_recipe,
    write_fresh,
)
from tmem.fastweights.dataset import ExampleDataset
from tmem.fastweights.fresh import BETAS, EPSILON, Held, rate, steps_for

QUIET = Fresh(steps=5, steps_per_pair=0, batch=64, noise=0.0, held=0)
RECIPE = Recipe(name="test", lr=0.02, rank=3, fresh=QUIET)


def make(family: str = "qwen3") -> tuple[FastWeights, TailReplay]:
    model = tiny(family)
    fast = FastWeights(model, Basis.from_model(model, rank=3))
    return fast, TailReplay(model, fast.target_modules[0].layer)


def changed(**settings: object) -> Recipe:
    return RECIPE.model_copy(update={"fresh": QUIET.model_copy(update=settings)})


def digest(delta: Delta) -> list[str]:
    return [delta.digest(row) for row in range(delta.sessions)]


def assert_close(one: Delta, other: Delta, **how: float) -> None:
    for name in one.b:
        torch.testing.assert_close(one.b[name], other.b[name], **({"rtol": 1e-3, "atol": 1e-5} | how))


def by_hand(fast: FastWeights, pairs: list[Example], recipe: Recipe) -> Delta:
    """torch's own Adam on all pairs in every step, text by text."""
    assert recipe.fresh is not None
    delta = fast.zeros(1)
    leaves = {name: value.clone().requires_grad_() for name, value in delta.b.items()}
    adam = torch.optim.Adam(leaves.values(), betas=BETAS, eps=EPSILON)
    steps = steps_for(len(pairs), recipe.fresh)
    for step in range(steps):
        losses = []
        for pair in pairs:
            ids = torch.tensor([[*pair.prompt_ids, *pair.answer_ids]])
            with fast.active(Delta(leaves, delta.basis_digest)):
                logits = fast.model(input_ids=ids).logits[0, len(pair.prompt_ids) - 1 : -1]
            losses.append(F.cross_entropy(logits, ids[0, len(pair.prompt_ids) :], reduction="none"))
        adam.zero_grad()
        torch.cat(losses).mean().backward()
        for group in adam.param_groups:
            group["lr"] = rate(step, steps, recipe.lr, recipe.fresh)
        adam.step()
    return Delta({name: value.detach() for name, value in leaves.items()}, delta.basis_digest)


@pytest.mark.parametrize("family", CORE_FAMILIES)
def test_it_is_adam_on_the_answers(family: str) -> None:
    fast, replay = make(family)
    pairs = examples(4)
    expected = by_hand(fast, pairs, RECIPE)
    for with_replay in (replay, None):
        written, [course] = write_fresh(fast, [Lesson(pairs)], RECIPE, [7], with_replay)
        assert course.reason is None and course.steps == len(course.loss) == 5
        # Adam divides by the size of a gradient: where that is next to nothing, rounding is not.
        assert_close(written, expected, rtol=0.05, atol=2e-3)


def test_many_sessions_end_as_each_does_alone() -> None:
    fast, replay = make()
    recipe = changed(batch=2, beside=2, noise=0.2)
    lessons = [Lesson(examples(count, seed=count), examples(3, seed=10 + count)) for count in (5, 1, 3)]
    together, courses = write_fresh(fast, lessons, recipe, [1, 2, 3], replay)
    for place, (lesson, seed) in enumerate(zip(lessons, [1, 2, 3], strict=True)):
        alone, [course] = write_fresh(fast, [lesson], recipe, [seed], replay)
        assert_close(together.select([place]), alone, rtol=0.05, atol=2e-3)
        assert courses[place].tokens == course.tokens
        assert courses[place].loss == pytest.approx(course.loss, rel=1e-3)


def test_the_same_arguments_give_the_same_bits_and_another_seed_does_not() -> None:
    fast, replay = make()
    recipe = changed(batch=2, noise=0.2)
    lessons = [Lesson(examples(5))]
    first, _ = write_fresh(fast, lessons, recipe, [1], replay)
    again, _ = write_fresh(fast, lessons, recipe, [1], replay)
    other, _ = write_fresh(fast, lessons, recipe, [2], replay)
    assert digest(first) == digest(again) != digest(other)


def test_a_rate_that_explodes_ends_at_zero_and_says_so() -> None:
    fast, replay = make()
    recipe = RECIPE.model_copy(update={"lr": 1e30})
    with torch.random.fork_rng(devices=[]):
        written, [course] = write_fresh(fast, [Lesson(examples(3))], recipe, [1], replay)
    assert course.reason is not None and "not finite" in course.reason and written.is_zero


def test_held_questions_keep_what_theta_0_says() -> None:
    fast, replay = make()
    questions = examples(12, seed=5)
    dataset = ExampleDataset(questions, torch.device("cpu"), replay)
    with torch.no_grad():
        said = []
        for one in questions:
            ids = torch.tensor([[*one.prompt_ids, *one.answer_ids]])
            said.append(fast.model(input_ids=ids).logits[0, len(one.prompt_ids) - 1 : -1].softmax(-1))
    shares, ids = torch.cat(said).sort(-1, descending=True)
    counts = [len(one.answer_ids) for one in questions]
    held = Held(dataset, ids, shares, [sum(counts[:place]) for place in range(len(counts))])

    def moved(delta: Delta) -> float:
        total = 0.0
        with torch.no_grad(), fast.active(delta, [0]):
            for one, before in zip(questions, said, strict=True):
                tokens = torch.tensor([[*one.prompt_ids, *one.answer_ids]])
                after = fast.model(input_ids=tokens).logits[0, len(one.prompt_ids) - 1 : -1].log_softmax(-1)
                total += float((before * (before.log() - after)).sum())
        return total

    recipe = changed(steps=20, held=12, held_weight=3.0)
    loose, _ = write_fresh(fast, [Lesson(examples(4))], recipe, [1], replay)
    tight, _ = write_fresh(fast, [Lesson(examples(4))], recipe, [1], replay, held)
    assert moved(tight) < 0.5 * moved(loose)


def test_what_cannot_be_written_is_refused() -> None:
    fast, replay = make()
    with pytest.raises(WriteError, match="does not write from zero"):
        write_fresh(fast, [Lesson(examples(1))], Recipe(name="sgd", rank=3), [1], replay)
    with pytest.raises(WriteError, match="pairs in each"):
        write_fresh(fast, [Lesson([])], RECIPE, [1], replay)


def test_recipes_of_sgd_say_what_they_always_said() -> None:
    assert "fresh" not in get_recipe("paper").model_dump() and "fresh" not in get_recipe("sgd").model_dump_json()
    assert get_recipe("tmem").model_dump()["fresh"]["steps"] == 24
    assert Recipe.model_validate(get_recipe("tmem").model_dump()) == get_recipe("tmem")
    with pytest.raises(UsageError, match=r"fresh\.noise"):
        get_recipe("tmem", fresh={"noise": -1})
    with pytest.raises(UsageError, match=r"recipe 'tmem' writes from zero and has no epochs: change fresh\.steps"):
        get_recipe("tmem", epochs=5)
