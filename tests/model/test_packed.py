"""Products with packed weights: float16's numbers, float32's sums, and the same bits in any batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import prompt
from torch import nn
from transformers import AutoModelForCausalLM

from tmem.errors import UsageError
from tmem.model import HFEngine, Request, decode_step, load, packed
from tmem.model.decode_step import linears
from tmem.model.load import PACK_AFTER

pytestmark = pytest.mark.skipif(not packed.available(), reason="this torch has no FBGEMM")
WIDE = 300  # numbers of an input
# oneDNN multiplies bfloat16 with AVX-512 or more; FBGEMM's kernels for AVX2 sum one row in another order than many.
rounds = pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="no bfloat16 on this processor")
wide = pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="no AVX-512")


def layers(bias: bool, *sizes: int) -> list[nn.Linear]:
    torch.manual_seed(len(sizes))
    return [nn.Linear(WIDE, size, bias=bias and number != 1) for number, size in enumerate(sizes)]


@torch.no_grad()
@pytest.mark.parametrize("weights", ["float32", "float16"])
@pytest.mark.parametrize("bias", [False, True])
def test_layers_that_read_the_same_input(bias: bool, weights: packed.Weights) -> None:
    own, x = layers(bias, 400, 64, 130), torch.randn(5, WIDE)
    found = packed.product(own, weights)(x)
    for linear in own:
        if weights == "float16":
            linear.weight.copy_(linear.weight.half())
    torch.testing.assert_close(found, torch.cat([linear(x) for linear in own], 1), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_copy_holds_float16_and_is_left_alone_by_what_comes_after() -> None:
    [own] = layers(True, 400)
    own.weight[0, :4] = torch.tensor([3e-6, -3e-6, 2.0**-24, 1 + 2.0**-12])
    multiply, numbers = packed.product([own], "float16"), own.weight.half().float()
    assert not torch.equal(numbers, own.weight)
    bias = own.bias.clone()
    own.weight.zero_(), own.bias.zero_()
    torch.testing.assert_close(multiply(torch.eye(WIDE)), numbers.mT + bias, rtol=0, atol=0)


@wide
@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 70), first=st.integers(0, 69), bias=st.booleans())
@torch.no_grad()
def test_a_row_has_the_same_bits_whatever_is_beside_it(rows: int, first: int, bias: bool) -> None:
    multiply, x = packed.product(layers(bias, 400), "float16"), torch.randn(70, WIDE)
    some = x[min(first, 70 - rows) :][:rows]
    whole = multiply(x)[min(first, 70 - rows) :][:rows]
    assert torch.equal(multiply(some), whole)


@torch.no_grad()
def test_small_weights_stay_in_float32() -> None:
    own, x = layers(False, 100), torch.randn(3, WIDE)
    assert torch.equal(packed.product(own, "float16")(x), own[0](x))


@pytest.fixture
def halved(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A checkpoint in bfloat16."""
    for own in checkpoint("qwen3").iterdir():
        (tmp_path / own.name).write_bytes(own.read_bytes())
    AutoModelForCausalLM.from_pretrained(tmp_path, dtype="bfloat16").save_pretrained(tmp_path)
    return tmp_path


def test_a_checkpoint_in_bfloat16_is_packed_as_it_is(halved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SMALL", 1)
    whole, model = load(halved, device="cpu", weights="float32"), load(halved, device="cpu")
    assert (model.weights, whole.weights) == ("float16", "float32")
    assert model.weights_hash == whole.weights_hash == load(halved, device="cpu", weights="float16").weights_hash
    wanted = [Request(prompt(3 + row), None, 60) for row in range(8)]
    expected = HFEngine(whole).generate(wanted)
    seen = []
    for _ in range(1 + PACK_AFTER // 30):
        done = HFEngine(model).generate(wanted)
        step = model.written()
        assert step is not None
        seen.append(step.weights)
        assert [own.ids for own in done] == [own.ids for own in expected]
        for one, other in zip(done, expected, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert (seen[0], seen[-1]) == ("float32", "float16")  # packed once enough was decoded
    step = whole.written()
    assert step is not None and step.weights == "float32"


def test_a_checkpoint_in_float32_is_left_alone_or_rounded_for_all(checkpoint: Callable[[str], Path]) -> None:
    plain, asked = load(checkpoint("qwen3"), device="cpu"), load(checkpoint("qwen3"), device="cpu", weights="float16")
    assert (plain.weights, asked.weights) == ("float32", "float16")
    for one, other in zip(linears(plain.hf), linears(asked.hf), strict=True):
        assert torch.equal(one.weight.half().float(), other.weight) and not torch.equal(one.weight, other.weight)
    assert plain.weights_hash != asked.weights_hash  # another base, whose memories are its own
    recipe = plain.recipe()
    assert plain.fast(recipe).basis.digest != asked.fast(recipe).basis.digest


def test_what_cannot_be_packed_is_said(
    checkpoint: Callable[[str], Path], halved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    assert load(checkpoint("gemma2"), device="cpu", notice=told.append, weights="float16").weights == "float32"
    assert told == [
        f"{checkpoint('gemma2')}: decoding is written out for Llama, Mistral, Qwen 2 and 3 in float32 on a CPU alone: "
        "its weights are read in float32"
    ]
    monkeypatch.setattr(packed, "available", lambda: False)
    assert load(halved, device="cpu", notice=told.append).weights == "float32" and len(told) == 1  # nobody asked for it
    assert load(halved, device="cpu", notice=told.append, weights="float16").weights == "float32"
    assert "this torch has no products with weights in float16" in told[1]
    with pytest.raises(UsageError, match="unknown weights 'int4': choose one of auto, float32, float16, bfloat16"):
        load(halved, device="cpu", weights="int4")  # type: ignore[arg-type]


def test_weights_beyond_float16_are_not_packed(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    hf = AutoModelForCausalLM.from_pretrained(checkpoint("llama"))
    for own in checkpoint("llama").iterdir():
        (tmp_path / own.name).write_bytes(own.read_bytes())
    with torch.no_grad():
        linears(hf)[0].weight[0, 0] = 1e5
    hf.save_pretrained(tmp_path)
    told: list[str] = []
    model = load(tmp_path, device="cpu", notice=told.append, weights="float16")
    assert model.weights == "float32" and float(linears(model.hf)[0].weight.abs().max()) == 1e5
    assert len(told) == 1 and "beyond the range of float16" in told[0]


@rounds
@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
def test_many_rows_are_multiplied_in_bfloat16_and_few_as_in_float16(bias: bool) -> None:
    own, x = layers(bias, 400, 64), torch.randn(packed.MANY, WIDE)
    for linear in own:
        linear.weight.copy_(linear.weight.bfloat16())
    many, few = packed.product(own, "bfloat16", packed.Rounded()), packed.product(own, "float16")
    assert torch.equal(many(x[1:]), few(x[1:]))
    exact = torch.cat([(linear.weight.double() @ x.bfloat16().double().T).T for linear in own], 1)
    biases = torch.cat(
        [linear.weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias for linear in own]
    )
    torch.testing.assert_close(many(x).double(), exact + biases, rtol=2.0**-8, atol=2.0**-12)
    assert not torch.equal(many(x), few(x))  # it is another product
    assert torch.equal(packed.product(own, "bfloat16", packed.Rounded())(x[:1]), few(x[:1]))


def test_bfloat16_rounds_the_weights_for_all(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(packed, "native", lambda: False)
    plain = load(checkpoint("qwen3"), device="cpu")
    asked = load(checkpoint("qwen3"), device="cpu", notice=told.append, weights="bfloat16")
    assert told == [
        f"{checkpoint('qwen3')}: this processor does not multiply bfloat16: its products are those of float16"
    ]
    for one, other in zip(linears(plain.hf), linears(asked.hf), strict=True):
        assert torch.equal(one.weight.bfloat16().float(), other.weight) and not torch.equal(one.weight, other.weight)
    assert plain.weights_hash != asked.weights_hash
    step = asked.written()
    assert step is not None and step.weights == "bfloat16"  # from its first step


@rounds
def test_in_bfloat16_many_answer_nearly_what_each_answers_alone(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "SMALL", 1)
    monkeypatch.setattr(decode_step, "native", lambda: True)  # elsewhere oneDNN computes the same, slowly
    model = load(checkpoint("qwen3"), device="cpu", weights="bfloat16")
    wanted = [Request(prompt(3 + row), None, 2) for row in range(2 * packed.MANY)]
    together = HFEngine(model).generate(wanted)
    alone = [HFEngine(model).generate([one])[0] for one in wanted]
    pairs = zip(together, alone, strict=True)
    same = [(one, other) for one, other in pairs if one.ids == other.ids and len(one.ids) == 2]
    assert len(same) > len(wanted) // 2
    apart = max(abs(one.logprobs[1] - other.logprobs[1]) for one, other in same)
    assert 1e-7 < apart < 0.05  # rounded, and no more than that


@rounds
def test_in_bfloat16_long_prompts_are_read_in_it_but_for_the_head(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "SMALL", 1)
    first = []
    for native in (False, True):
        monkeypatch.setattr(decode_step, "native", lambda native=native: native)
        model = load(checkpoint("qwen3"), device="cpu", weights="bfloat16")
        first.append([HFEngine(model).generate([Request(prompt(length), None, 1)])[0] for length in (3, 40)])
    (few, many), (few_rounded, many_rounded) = first
    assert few.logprobs == few_rounded.logprobs  # few rows are those of float16
    assert 1e-7 < abs(many.logprobs[0] - many_rounded.logprobs[0]) < 0.05
    written = model.written()
    assert written is not None
    x = torch.randn(packed.MANY, model.hf.config.hidden_size)
    with torch.no_grad(), written.reading():
        head: nn.Linear = model.hf.lm_head  # type: ignore[assignment]
        assert torch.equal(head(x), x @ head.weight.mT)
