"""Sites and A: what is adapted, that A is the SVD's, and that a stored A needs its own weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from helpers import FAMILIES, tiny
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from tmem.errors import DataError, ModelError
from tmem.fastweights import Basis, find_target_modules, weights_hash


@pytest.mark.parametrize("family", FAMILIES)
def test_sites_are_the_last_layers_matrices(family: str) -> None:
    model = tiny(family)
    targets = find_target_modules(model, layers=4)
    assert len(targets) == 4 * (2 if family == "phi" else 3)
    assert sorted({target.layer for target in targets}) == [2, 3, 4, 5]
    assert len({target.name for target in targets}) == len(targets)
    for target in targets:
        assert target.weight.shape == (target.out_features, target.in_features)
        assert target.weight.data_ptr() >= target.module.weight.data_ptr()  # a view, not a copy


def test_fused_rows_cover_the_matrix() -> None:
    gate, up, _ = find_target_modules(tiny("phi3"), layers=1)
    assert gate.module is up.module
    assert gate.name.endswith("gate_up_proj[gate]") and up.name.endswith("gate_up_proj[up]")
    assert torch.equal(torch.cat([gate.weight, up.weight]), gate.module.weight)


def test_mixture_of_experts_is_refused_in_one_line() -> None:
    config = Qwen3MoeConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_experts=2,
        moe_intermediate_size=8,
    )
    with pytest.raises(ModelError, match="mixtures of experts") as error:
        find_target_modules(Qwen3MoeForCausalLM(config), layers=1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("layers", [0, 7])
def test_impossible_number_of_layers_is_refused(layers: int) -> None:
    with pytest.raises(ModelError, match="choose 1 to 6"):
        find_target_modules(tiny("qwen3"), layers=layers)


def test_model_without_decoder_is_refused() -> None:
    with pytest.raises(ModelError, match="no stack of decoder layers"):
        find_target_modules(torch.nn.Linear(2, 2), layers=1)
    with pytest.raises(ModelError, match="use a causal language model"):
        find_target_modules(tiny("qwen3").model, layers=1)


@pytest.mark.parametrize("family", ["qwen3", "phi3", "phi"])
def test_svd_basis_is_sigma_v(family: str) -> None:
    model = tiny(family)
    basis = Basis.from_model(model, rank=3)
    orthonormal = Basis.from_model(model, rank=3, init="svd_orthonormal")
    for target in find_target_modules(model):
        _, sigma, vh = torch.linalg.svd(target.weight.double(), full_matrices=False)
        a = basis.a[target.name].double()
        assert a.shape == (3, target.in_features)
        torch.testing.assert_close(basis.sigma[target.name].double(), sigma[:3], rtol=1e-6, atol=0)
        signs = (a * vh[:3]).sum(1).sign()
        torch.testing.assert_close(a, signs[:, None] * sigma[:3, None] * vh[:3], rtol=1e-5, atol=1e-5)
        assert (a.gather(1, a.abs().argmax(1, keepdim=True)) > 0).all()  # signs are fixed
        torch.testing.assert_close(
            orthonormal.a[target.name] * basis.sigma[target.name][:, None],
            basis.a[target.name],
            rtol=1e-5,
            atol=1e-6,
        )


def test_random_basis_is_seeded_and_scaled_like_svd() -> None:
    model = tiny("llama")
    svd = Basis.from_model(model)
    first, again, other = (Basis.from_model(model, init="random", seed=seed) for seed in (1, 1, 2))
    assert first.digest == again.digest != other.digest
    for name, a in first.a.items():
        torch.testing.assert_close(a.norm(), svd.a[name].norm())


def test_rank_and_init_are_checked() -> None:
    with pytest.raises(ModelError, match="rank 33 does not fit"):
        Basis.from_model(tiny("qwen3"), rank=33)
    with pytest.raises(ModelError, match="unknown basis 'pca'"):
        Basis.from_model(tiny("qwen3"), init="pca")  # type: ignore[arg-type]


def test_broken_weights_are_refused() -> None:
    model = tiny("qwen3")
    find_target_modules(model)[0].weight.data[0, 0] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        Basis.from_model(model)


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    model = tiny("qwen3")
    basis = Basis.from_model(model, layers=2, rank=3, init="random", seed=5)
    basis.save(tmp_path / "basis.safetensors")
    loaded = Basis.load(tmp_path / "basis.safetensors", model)
    for field in ("rank", "layers", "init", "seed", "weights_hash", "digest"):
        assert getattr(loaded, field) == getattr(basis, field)
    for name in basis.a:
        assert torch.equal(loaded.a[name], basis.a[name]) and torch.equal(loaded.sigma[name], basis.sigma[name])


def test_basis_of_other_weights_is_refused_unless_declared(tmp_path: Path) -> None:
    pretrained, trained = tiny("qwen3"), tiny("qwen3", seed=1)
    basis = Basis.from_model(pretrained)
    basis.save(tmp_path / "a")
    with pytest.raises(ModelError, match="other weights"):
        Basis.load(tmp_path / "a", trained)
    declared = dataclasses.replace(basis, weights_hash=weights_hash(find_target_modules(trained)))
    declared.save(tmp_path / declared.filename)
    assert Basis.load(tmp_path / declared.filename, trained).digest == basis.digest
    assert Basis.cached(trained, tmp_path).digest == basis.digest


def test_dtype_does_not_change_the_hash() -> None:
    model = tiny("qwen3").to(torch.float16)
    assert weights_hash(find_target_modules(model)) == weights_hash(find_target_modules(model.float()))


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped"])
def test_damaged_cache_is_recomputed(tmp_path: Path, damage: str) -> None:
    model = tiny("qwen3")
    basis = Basis.cached(model, tmp_path)
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    flipped = bytes([*good[:-50], good[-50] ^ 1, *good[-49:]])
    path.write_bytes({"empty": b"", "truncated": good[:-100], "flipped": flipped}[damage])
    with pytest.raises(DataError):
        Basis.load(path, model)
    assert Basis.cached(model, tmp_path).digest == basis.digest
    assert Basis.load(path, model).digest == basis.digest  # and stored again


def test_cache_is_used_and_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("qwen3")
    assert Basis.cached(model, None).digest == Basis.cached(model, tmp_path).digest
    monkeypatch.setattr(Basis, "from_model", None)
    Basis.cached(model, tmp_path)
