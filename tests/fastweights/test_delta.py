"""B and the hooks: equal to the base, to merged weights and to PEFT, and refused where they do not fit."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from helpers import CORE_FAMILIES, FAMILIES, VOCABULARY, tiny
from torch import Tensor

from tmem.errors import DeltaError, ModelError
from tmem.fastweights import Basis, Delta, FastWeights, TargetModule
from tmem.fastweights.delta import _equal_runs
from tmem.seeds import generator


def make(family: str, rank: int = 3) -> FastWeights:
    model = tiny(family)
    return FastWeights(model, Basis.from_model(model, rank=rank))


def noise(fast: FastWeights, sessions: int, scale: float = 0.05) -> Delta:
    zeros = fast.zeros(sessions)
    return Delta(
        {k: scale * torch.randn(v.shape, generator=generator("b", k)) for k, v in zeros.b.items()},
        zeros.basis_digest,
    )


def ids(rows: int, width: int = 12) -> Tensor:
    return torch.randint(3, VOCABULARY, (rows, width), generator=generator("ids", rows))


@torch.no_grad()
def run(
    fast: FastWeights, tokens: Tensor, delta: Delta | None = None, rows: list[int] | Tensor | None = None
) -> Tensor:
    with fast.active(delta, rows):
        logits: Tensor = fast.model(input_ids=tokens).logits
    return logits


def merged(fast: FastWeights, delta: Delta, row: int) -> FastWeights:
    """The same model with one session's B A added into its weights."""
    model = copy.deepcopy(fast.model)
    other = FastWeights(model, fast.basis)
    with torch.no_grad():
        for target in other.target_modules:
            target.weight.add_(delta.b[target.name][row] @ fast.basis.a[target.name])
    return other


@pytest.mark.parametrize("family", FAMILIES)
def test_no_memory_is_the_base_model_bit_for_bit(family: str) -> None:
    fast = make(family)
    base = run(fast, ids(4))
    assert torch.equal(run(fast, ids(4), fast.zeros(2)), base)
    assert torch.equal(run(fast, ids(4), None), base)
    delta = noise(fast, 2)
    assert torch.equal(run(fast, ids(4), delta, [-1, -1, -1, -1]), base)
    mixed = run(fast, ids(4), delta, [-1, 0, -1, 1])
    assert torch.equal(mixed[[0, 2]], base[[0, 2]])
    assert not torch.allclose(mixed[[1, 3]], base[[1, 3]], atol=1e-3)
    assert torch.equal(run(fast, ids(4)), base)  # nothing is left behind


@pytest.mark.parametrize("family", FAMILIES)
def test_hook_equals_merged_weights(family: str) -> None:
    fast = make(family)
    delta = noise(fast, 3)
    separate = torch.cat([run(merged(fast, delta, row), ids(6)[2 * row : 2 * row + 2]) for row in range(3)])
    torch.testing.assert_close(run(fast, ids(6), delta), separate, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(run(fast, ids(6)), separate, atol=1e-2)


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3", "phi"])
def test_hook_equals_peft_lora(family: str) -> None:
    peft = pytest.importorskip("peft")
    fast = make(family)
    delta = noise(fast, 1)
    model = copy.deepcopy(fast.model)
    targets = [target.name for target in fast.target_modules]
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=3, lora_alpha=3, lora_dropout=0.0, target_modules=targets)
    ).eval()
    for target in fast.target_modules:
        layer = adapted.get_submodule(f"base_model.model.{target.name}")
        layer.lora_A["default"].weight.data.copy_(fast.basis.a[target.name])
        layer.lora_B["default"].weight.data.copy_(delta.b[target.name][0])
    with torch.no_grad():
        torch.testing.assert_close(run(fast, ids(2), delta), adapted(input_ids=ids(2)).logits, rtol=1e-5, atol=1e-5)


def test_fused_target_modules_equal_the_unfused_computation() -> None:
    fast = make("phi3")
    delta = noise(fast, 1)
    gate, up, down = fast.target_modules[:3]
    x = torch.randn(1, 5, gate.in_features, generator=generator("x"))

    def adapted(x: Tensor, target: TargetModule) -> Tensor:
        return x @ target.weight.T + x @ fast.basis.a[target.name].T @ delta.b[target.name][0].T

    with torch.no_grad(), fast.active(delta):
        fused = fast.model.get_submodule(f"model.layers.{gate.layer}.mlp")(x)
        plain = adapted(adapted(x, up) * torch.nn.functional.silu(adapted(x, gate)), down)
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 2, 2], [2, 0, 1, 0, 2, 1], [1, 1, -1, 1, 0, -1]])
def test_every_layout_of_rows_agrees_with_one_by_one(rows: list[int]) -> None:
    fast = make("qwen3")
    delta = noise(fast, 3)
    together = run(fast, ids(6), delta, torch.tensor(rows))
    for place, row in enumerate(rows):
        alone = run(fast, ids(6)[place : place + 1], delta, [row])
        torch.testing.assert_close(together[place : place + 1], alone, rtol=1e-5, atol=1e-5)


def test_rows_are_cut_into_equal_runs() -> None:
    assert _equal_runs([0, 0, 1, 1, 2]) == [(2, [0, 1]), (1, [2])]
    assert _equal_runs([0, 1, 0, 1]) == [(1, [0, 1, 0, 1])]
    assert _equal_runs([4] * 5) == [(5, [4])]
    assert _equal_runs([0, 1, 1, 2, 0, 0]) == [(1, [0, 1, 1, 2, 0, 0])]  # too many short pieces


@pytest.mark.parametrize("rows", [None, [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 0, 1]])
def test_gradients_reach_b_and_the_base_weights(rows: list[int] | None) -> None:
    fast = make("llama")
    delta = noise(fast, 2)
    leaves = [value.requires_grad_() for value in delta.b.values()]
    with fast.active(delta, rows):
        fast.model(input_ids=ids(6)).logits.square().sum().backward()
    assert all(leaf.grad is not None and bool(leaf.grad.flatten(1).any(1).all()) for leaf in leaves)
    assert all(parameter.grad is not None for parameter in fast.model.parameters())


def test_bfloat16_adds_in_float32_and_keeps_the_dtype() -> None:
    model = tiny("qwen3").to(torch.bfloat16)
    fast = FastWeights(model, Basis.from_model(model, rank=3))
    assert torch.equal(run(fast, ids(4), fast.zeros(2)), run(fast, ids(4)))
    assert run(fast, ids(4), noise(fast, 2)).dtype == torch.bfloat16


def test_what_does_not_fit_is_refused() -> None:
    fast = make("qwen3")
    delta = noise(fast, 2)
    with pytest.raises(DeltaError, match="another basis"), fast.active(Delta(delta.b, "0" * 64)):
        pass
    with fast.active(delta), pytest.raises(DeltaError, match="already active"), fast.active(None):
        pass
    other = FastWeights(fast.model, Basis.from_model(fast.model, rank=2))  # whose hooks would lie on the same linears
    with fast.active(delta), pytest.raises(DeltaError, match="already active"), other.active(other.zeros(2)):
        pass
    with pytest.raises(DeltaError, match="no session 2"), fast.active(delta, [0, 2]):
        pass
    with pytest.raises(DeltaError, match="has 3 rows but `rows` names a session for 4"):
        run(fast, ids(3), delta, [0, 0, 1, 1])
    with pytest.raises(DeltaError, match="no multiple of 2 sessions"):
        run(fast, ids(3), delta)
    with pytest.raises(DeltaError, match="shape"):
        fast.check(Delta({name: value[:, 1:] for name, value in delta.b.items()}, delta.basis_digest))
    with pytest.raises(ModelError, match="another architecture"):
        FastWeights(tiny("phi"), fast.basis)
    assert torch.equal(run(fast, ids(2)), run(make("qwen3"), ids(2)))  # no hook survived the errors


def test_copies_selections_and_digests() -> None:
    fast = make("phi3")
    delta = noise(fast, 3)
    assert fast.zeros(2).is_zero and not delta.is_zero
    picked = delta.select([2, 0])
    assert picked.sessions == 2 and picked.digest(0) == delta.digest(2) != delta.digest(1)
    joined = Delta.cat([picked, delta.select([1])])
    assert [joined.digest(row) for row in range(3)] == [delta.digest(row) for row in (2, 0, 1)]
    copy_of = delta.clone()
    next(iter(copy_of.b.values())).zero_()
    assert copy_of.digest(0) != delta.digest(0)
    with pytest.raises(DeltaError, match="one basis"):
        Delta.cat([delta, Delta(delta.b, "other")])
    with pytest.raises(DeltaError, match="at least one"):
        Delta.cat([])


def test_memories_lie_rank_first_and_are_read_without_a_copy(tmp_path: Path) -> None:
    fast = make("qwen3")
    delta = noise(fast, 3)
    delta.save(tmp_path / "delta.safetensors")
    loaded = Delta.load(tmp_path / "delta.safetensors", fast.basis)
    made = [fast.zeros(3), loaded, delta.select([2, 0]), Delta.cat([delta, delta]), delta.select([0]).clone()]
    assert all(b.mT.is_contiguous() for one in made for b in one.b.values())
    assert loaded.digest(1) == delta.digest(1)
    with torch.no_grad():
        for rows in (None, [0, 1, 2], [1, 1, 2, 2]):
            for segment in fast._segments(loaded, rows):
                for name, b in segment.b.items():
                    assert b.untyped_storage().data_ptr() == loaded.b[name].untyped_storage().data_ptr()
        assert torch.equal(run(fast, ids(3), delta, [0, 1, 2]), run(fast, ids(3), loaded, [0, 1, 2]))


@pytest.mark.parametrize("family", CORE_FAMILIES)
def test_without_gradients_a_memory_gives_the_same(family: str) -> None:
    fast = make(family)
    delta = noise(fast, 3)
    with fast.active(delta, [2, -1, 0]):
        wanted = fast.model(input_ids=ids(3)).logits
    assert wanted.requires_grad
    torch.testing.assert_close(run(fast, ids(3), delta, [2, -1, 0]), wanted.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", CORE_FAMILIES)
def test_norm_ratio_is_that_of_the_product(family: str) -> None:
    fast = make(family)
    delta = noise(fast, 2)
    ratio, by_site = fast.norm_ratio(delta)
    products = {target.name: delta.b[target.name] @ fast.basis.a[target.name] for target in fast.target_modules}
    for target in fast.target_modules:
        expected = products[target.name].flatten(1).norm(dim=1) / target.weight.norm()
        torch.testing.assert_close(by_site[target.name], expected.detach(), rtol=1e-4, atol=0)
    change = torch.cat([product.flatten(1) for product in products.values()], 1).norm(dim=1)
    whole = torch.cat([target.weight.detach().flatten() for target in fast.target_modules]).norm()
    torch.testing.assert_close(ratio, change / whole, rtol=1e-4, atol=0)


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    fast = make("qwen3")
    delta = noise(fast, 2)
    delta.save(tmp_path / "memory.safetensors", {"user": "ada"})
    loaded = Delta.load(tmp_path / "memory.safetensors", fast.basis)
    assert all(torch.equal(loaded.b[name], delta.b[name]) for name in delta.b)
    assert torch.equal(run(fast, ids(2), loaded), run(fast, ids(2), delta))
    with pytest.raises(DeltaError, match="made on another basis"):
        Delta.load(tmp_path / "memory.safetensors", Basis.from_model(tiny("qwen3", seed=1), rank=3))
    Delta({"elsewhere": torch.zeros(1, 2, 3)}, fast.basis.digest).save(tmp_path / "odd.safetensors")
    with pytest.raises(DeltaError, match="damaged"):
        Delta.load(tmp_path / "odd.safetensors", fast.basis)
