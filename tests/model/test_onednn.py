from collections.abc import Callable
from contextlib import nullcontext
from threading import Thread

import pytest
import torch
from references import MemoryModel, assert_same
from torch import Tensor, nn

from tmem.model import HFEngine, Request, onednn
from tmem.model.onednn import large_products

WithMemories = Callable[[str], MemoryModel]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The weights that were multiplied with by oneDNN, for which 80 x 48 numbers are large."""
    if not onednn.AVAILABLE:
        pytest.skip("torch was built without oneDNN")
    seen: list[Tensor] = []
    product = onednn._product

    def noting(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        seen.append(weight)
        return product(x, weight, bias)

    monkeypatch.setattr(onednn, "_product", noting)
    monkeypatch.setattr(onednn, "LARGE", 80 * 48)
    return seen


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4, 1), (1, 5), (3, 7)])
def test_a_product_is_that_of_torch_and_hooks_see_it(bias: bool, shape: tuple[int, int], used: list[Tensor]) -> None:
    linear, x = nn.Linear(48, 80, bias=bias), torch.randn(*shape, 48)
    seen: list[Tensor] = []
    handle = linear.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad(), large_products([linear.weight]):
        found = linear(x)
    assert len(used) == len(seen) == 1 and seen[0] is found
    handle.remove()
    torch.testing.assert_close(found, linear(x).detach(), rtol=1e-5, atol=1e-5)
    assert len(used) == 1


def test_a_transposed_or_cut_input_is_read_right(used: list[Tensor]) -> None:
    linear, x = nn.Linear(48, 80), torch.randn(48, 18)[:, ::2].mT
    with torch.no_grad(), large_products([linear.weight]):
        found = linear(x)
    assert len(used) == 1
    torch.testing.assert_close(found, linear(x).detach(), rtol=1e-5, atol=1e-5)


def test_small_weights_few_rows_other_types_gradients_and_autocast_are_left_to_torch(used: list[Tensor]) -> None:
    large, small, half = nn.Linear(48, 80), nn.Linear(48, 79), nn.Linear(48, 80).bfloat16()
    x = torch.randn(4, 48)
    assert isinstance(large_products([small.weight, half.weight]), nullcontext)
    with large_products([large.weight]):
        with torch.no_grad():
            small(x), large(x[:3]), half(x.bfloat16())
            with torch.autocast("cpu", torch.bfloat16):
                assert large(x).dtype == torch.bfloat16
        large(x).sum().backward()
    assert not used
    assert large.weight.grad is not None


def test_other_threads_are_left_alone(used: list[Tensor]) -> None:
    linear = nn.Linear(48, 80).requires_grad_(False)

    def work() -> None:
        with torch.no_grad():
            linear(torch.ones(4, 48))

    with large_products([linear.weight]), large_products([linear.weight]):  # one inside the other is one
        other = Thread(target=work)
        other.start()
        other.join()
        assert not used
        work()
    work()
    assert len(used) == 1


def test_texts_are_those_of_torch(with_memories: WithMemories, used: list[Tensor]) -> None:
    model, fast, delta = with_memories("qwen3")
    asked = [Request((5 + row, 9, 11 + row, 4), row % 3, 6, stop="eos") for row in range(4)]
    asked += [Request(tuple(range(10, 90)), None, 6, stop="eos")]
    onednn.LARGE = 2**40
    plain = HFEngine(model).generate(asked, delta, fast)
    assert not used
    onednn.LARGE = 1
    found = HFEngine(model).generate(asked, delta, fast)
    linears = {part.weight.data_ptr() for part in model.hf.modules() if type(part) is nn.Linear}
    assert linears <= {weight.data_ptr() for weight in used}
    assert_same(found, plain)
