"""The write: equal to a hand-written SGD, to single writes and elsewhere; failures change nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import CORE_FAMILIES, examples, tiny

import tmem
from tmem.errors import DeltaError, UsageError, WriteError
from tmem.fastweights import Basis, Delta, Example, FastWeights, Recipe, TailReplay, get_recipe, write
from tmem.fastweights.dataset import ExampleDataset
from tmem.seeds import generator

RECIPE = Recipe(name="test", lr=0.02, epochs=3, batch=4, rank=3)


def make(family: str = "qwen3") -> tuple[FastWeights, TailReplay]:
    model = tiny(family)
    fast = FastWeights(model, Basis.from_model(model, rank=3))
    return fast, TailReplay(model, fast.target_modules[0].layer)


def digests(delta: Delta) -> list[str]:
    return [delta.digest(row) for row in range(delta.sessions)]


def assert_close(one: Delta, other: Delta) -> None:
    for name in one.b:
        torch.testing.assert_close(one.b[name], other.b[name], rtol=1e-3, atol=1e-6)


def by_hand(fast: FastWeights, pairs: list[Example], recipe: Recipe, seed: int) -> Delta:
    """SGD as the paper describes it: text by text, all logits, the loss masked to the answer."""
    delta = fast.zeros(1)
    shuffle = generator(seed, "shuffle")
    for _ in range(recipe.epochs):
        order = torch.randperm(len(pairs), generator=shuffle).tolist()
        for start in range(0, len(pairs), recipe.batch):
            leaves = [value.requires_grad_() for value in delta.b.values()]
            losses = []
            for pair in (pairs[i] for i in order[start : start + recipe.batch]):
                ids = torch.tensor([[*pair.prompt_ids, *pair.answer_ids]])
                labels = ids.clone()
                labels[:, : len(pair.prompt_ids)] = -100
                with fast.active(delta):
                    logits = fast.model(input_ids=ids).logits
                token_losses = F.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="none")
                losses.append(token_losses[labels[0, 1:] != -100])
            gradients = torch.autograd.grad(torch.cat(losses).mean(), leaves)
            b = {
                name: value.detach() - recipe.lr * g
                for (name, value), g in zip(delta.b.items(), gradients, strict=True)
            }
            delta = Delta(b, delta.basis_digest)
    return delta


@pytest.mark.parametrize("family", CORE_FAMILIES)
def test_one_step_is_the_masked_full_loss(family: str) -> None:
    fast, replay = make(family)
    recipe = RECIPE.model_copy(update={"epochs": 1})
    pairs = examples(3)
    expected = by_hand(fast, pairs, recipe, seed=7)
    for with_replay in (replay, None):
        written, (account,) = write(fast, fast.zeros(1), [pairs], recipe, [7], replay=with_replay)
        assert account.applied and account.steps == 1
        assert_close(written, expected)


def test_shuffled_epochs_of_minibatches_equal_the_hand_written_ones() -> None:
    fast, replay = make("llama")
    pairs = examples(10)
    written, (account,) = write(fast, fast.zeros(1), [pairs], RECIPE, [7], replay=replay)
    assert_close(written, by_hand(fast, pairs, RECIPE, seed=7))
    assert account.steps == 9 and len(account.loss) == 3
    assert account.tokens == 3 * sum(len(pair) - 1 for pair in pairs)


@pytest.mark.parametrize("family", CORE_FAMILIES)
@pytest.mark.parametrize("limit", [{}, {"cpu_tokens": 40}, {"cpu_padding": 0}, {"cpu_padding": 10**9}, {"logits": 1}])
def test_sessions_together_equal_each_alone(
    family: str, limit: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in limit.items():
        monkeypatch.setattr(ExampleDataset, name, value)
    fast, replay = make(family)
    new = [examples(count, seed) for seed, count in enumerate((4, 9, 1, 4))]
    old = [examples(count, 10 + seed) for seed, count in enumerate((0, 3, 0, 2))]
    seeds = [11, 12, 13, 14]
    recipe = RECIPE.model_copy(update={"rehearse": 2})
    start, _ = write(fast, fast.zeros(4), old, RECIPE, seeds)
    together, accounts = write(fast, start, new, recipe, seeds, old, replay)
    for row in range(4):
        alone, (account,) = write(fast, start.select([row]), [new[row]], recipe, [seeds[row]], [old[row]], replay)
        assert_close(together.select([row]), alone)
        assert account.steps == accounts[row].steps and account.rehearsed == accounts[row].rehearsed
        assert account.loss == pytest.approx(accounts[row].loss, rel=1e-4)
        assert account.ax2 == pytest.approx(accounts[row].ax2, rel=1e-4)


def test_replay_and_plain_forward_write_the_same() -> None:
    fast, replay = make()
    new = [examples(5, 0), examples(7, 1)]
    with_replay, _ = write(fast, fast.zeros(2), new, RECIPE, [1, 2], replay=replay)
    plain, _ = write(fast, fast.zeros(2), new, RECIPE, [1, 2])
    assert_close(with_replay, plain)


SCRIPT = """
import torch
torch.set_num_threads(1)
from test_write import RECIPE, digests, examples, make, write
fast, replay = make("gemma3")
new = [examples(5, 0), examples(7, 1)]
print(*digests(write(fast, fast.zeros(2), new, RECIPE, [1, 2], replay=replay)[0]))
"""


def test_same_seeds_are_bit_equal_here_and_in_another_process() -> None:
    fast, replay = make("gemma3")
    new = [examples(5, 0), examples(7, 1)]
    first, second = (digests(write(fast, fast.zeros(2), new, RECIPE, [1, 2], replay=replay)[0]) for _ in range(2))
    assert first == second
    other_seeds = digests(write(fast, fast.zeros(2), new, RECIPE, [3, 2], replay=replay)[0])
    assert other_seeds[0] != first[0]
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), str(Path(tmem.__file__).parent.parent)]
    script = f"import sys; sys.path[:0] = {paths!r}\n{SCRIPT}"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.split() == first


def test_written_pairs_are_learnt_and_accounted_for() -> None:
    fast, replay = make()
    start = fast.zeros(1)
    recipe = RECIPE.model_copy(update={"epochs": 8, "lr": 0.5})
    written, (account,) = write(fast, start, [examples(4)], recipe, [0], replay=replay)
    assert start.is_zero and not written.is_zero
    assert account.applied and account.reason is None and account.pairs == 4 and account.rehearsed == 0
    assert len(account.loss) == 8 and account.loss[-1] < 0.8 * account.loss[0] and account.loss == account.new_loss
    ratio, by_site = fast.norm_ratio(written)
    assert account.delta_ratio == pytest.approx(float(ratio[0])) and account.delta_ratio > 0
    assert set(account.delta_ratio_by_site) == set(account.ax2) == set(account.log_sigma) == set(by_site)
    for name, sigma in fast.basis.sigma.items():
        assert account.log_sigma[name] == pytest.approx(sigma.log().tolist())


def test_ax2_is_measured_at_answer_positions() -> None:
    fast, _ = make()
    pairs = examples(3)
    recipe = RECIPE.model_copy(update={"epochs": 1})
    seen: dict[str, list[torch.Tensor]] = {}
    for pair in pairs:
        ids = torch.tensor([[*pair.prompt_ids, *pair.answer_ids]])
        us: dict[str, torch.Tensor] = {}
        with torch.no_grad(), fast.active(fast.zeros(1), watch=us.__setitem__):
            fast.model(input_ids=ids)
        for name, u in us.items():
            seen.setdefault(name, []).append(u[0, len(pair.prompt_ids) - 1 : -1])
    _, (account,) = write(fast, fast.zeros(1), [pairs], recipe, [0])
    for name, parts in seen.items():
        assert account.ax2[name] == pytest.approx(float(torch.cat(parts).square().sum(1).mean()), rel=1e-4)


def test_session_without_a_batch_keeps_b_bit_for_bit() -> None:
    fast, replay = make()
    start, _ = write(fast, fast.zeros(3), [examples(2, s) for s in range(3)], RECIPE, [0, 1, 2])
    written, accounts = write(fast, start, [[], examples(9, 5), examples(1, 6)], RECIPE, [3, 4, 5], replay=replay)
    assert digests(written)[0] == digests(start)[0]
    assert not accounts[0].applied and accounts[0].reason == "there were no pairs to write"
    assert [account.steps for account in accounts] == [
        0,
        9,
        3,
    ]  # the last one idles while the second has batches left
    alone, _ = write(fast, start.select([2]), [examples(1, 6)], RECIPE, [5], replay=replay)
    assert_close(written.select([2]), alone)


def test_nothing_to_write_for_anyone() -> None:
    fast, replay = make()
    written, accounts = write(fast, fast.zeros(2), [[], []], RECIPE, [0, 1], [examples(2), []], replay)
    assert written.is_zero and not any(account.applied for account in accounts)


def test_stopped_session_is_left_alone() -> None:
    fast, replay = make()
    new = [examples(3, 0), examples(3, 1)]
    one_epoch, _ = write(fast, fast.zeros(2), new, RECIPE.model_copy(update={"epochs": 1}), [0, 1], replay=replay)
    recipe = RECIPE.model_copy(update={"stop_loss": 1e9})
    written, accounts = write(fast, fast.zeros(2), new, recipe, [0, 1], replay=replay)
    assert digests(written) == digests(one_epoch)
    assert all(account.applied and account.steps == 1 and len(account.loss) == 1 for account in accounts)


def test_write_that_diverges_changes_nothing_for_itself_or_others() -> None:
    fast, replay = make()
    start, _ = write(fast, fast.zeros(2), [examples(2, 0), examples(2, 1)], RECIPE, [0, 1])
    broken = start.clone()
    next(iter(broken.b.values()))[1, 0, 0] = float("inf")
    new = [examples(3, 2), examples(3, 3)]
    written, accounts = write(fast, broken, new, RECIPE, [0, 1], replay=replay)
    assert not accounts[1].applied and accounts[1].reason == "the loss was not finite at step 1"
    assert accounts[1].loss == [] and digests(written)[1] == digests(broken)[1]
    assert accounts[0].applied
    alone, _ = write(fast, start.select([0]), new[:1], RECIPE, [0], replay=replay)
    assert_close(written.select([0]), alone)
    more, (account,) = write(fast, broken.select([1]), [examples(9, 3)], RECIPE, [1], replay=replay)
    assert account.steps == 1 and digests(more) == digests(broken)[1:]  # the steps that would follow are not done
    huge = RECIPE.model_copy(update={"lr": 1e38, "epochs": 1})
    written, (account,) = write(fast, start.select([0]), new[:1], huge, [0], replay=replay)
    assert account.reason == "the weights were not finite after the last step"
    assert digests(written) == digests(start)[:1]


def test_unusable_pairs_are_dropped_with_their_reason() -> None:
    fast, replay = make()
    good = examples(2)
    long, no_answer = Example((1,) * 500, (5,) * 13, "long"), Example((1, 2), (), "no answer")
    written, (account,) = write(fast, fast.zeros(1), [[long, *good, no_answer]], RECIPE, [0], [[long]], replay)
    assert [(dropped.label, dropped.reason) for dropped in account.dropped] == [
        ("long", "513 tokens are more than the recipe's 512"),
        ("no answer", "the prompt or the answer has no tokens"),
    ]
    assert account.pairs == 2 and account.rehearsed == 0
    assert digests(written) == digests(write(fast, fast.zeros(1), [good], RECIPE, [0], replay=replay)[0])
    written, (account,) = write(fast, written, [[long]], RECIPE, [0], [good], replay)
    assert not account.applied and account.reason == "every pair was dropped" and account.steps == 0


@pytest.mark.parametrize(("rehearse", "expected"), [(0, 0), (2, 2), (9, 5), (-1, 5)])
def test_rehearsal_takes_as_many_old_pairs_as_the_recipe_says(rehearse: int, expected: int) -> None:
    fast, replay = make()
    recipe = RECIPE.model_copy(update={"rehearse": rehearse, "epochs": 1})
    _, (account,) = write(fast, fast.zeros(1), [examples(3)], recipe, [0], [examples(5, 1)], replay)
    assert account.rehearsed == expected and account.pairs == 3
    assert (account.loss == account.new_loss) == (expected == 0)


def test_the_base_model_is_left_as_it_was() -> None:
    fast, replay = make("phi3")
    model = fast.model
    model.train()
    frozen = next(model.parameters()).requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():  # a caller's no_grad does not matter
        written, _ = write(fast, fast.zeros(1), [examples(3)], RECIPE, [0], replay=replay)
    assert not written.is_zero and not any(value.requires_grad for value in written.b.values())
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad == (parameter is not frozen) for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_arguments_that_do_not_belong_together_are_refused() -> None:
    fast, _ = make()
    with pytest.raises(WriteError, match="for each of 1 sessions"):
        write(fast, fast.zeros(1), [[], []], RECIPE, [0])
    with pytest.raises(WriteError, match="make some for this recipe"):
        write(fast, fast.zeros(1), [[]], RECIPE.model_copy(update={"rank": 6}), [0])
    with pytest.raises(WriteError, match="replay"):
        write(fast, fast.zeros(1), [[]], RECIPE, [0], replay=TailReplay(fast.model, 3))
    with pytest.raises(DeltaError, match="another basis"):
        write(fast, Delta(fast.zeros(1).b, "other"), [[]], RECIPE, [0])


def test_recipes_by_name() -> None:
    paper = get_recipe("paper")
    assert (paper.lr, paper.epochs, paper.batch, paper.rank, paper.layers) == (5e-4, 5, 16, 6, 4)
    assert get_recipe("tmem", lr=0.1).lr == 0.1
    with pytest.raises(UsageError, match="choose one of paper, sgd, tmem"):
        get_recipe("best")
    with pytest.raises(UsageError, match="lr"):
        get_recipe("paper", lr=-1)
    with pytest.raises(UsageError, match="speed"):
        get_recipe("paper", speed=3)
