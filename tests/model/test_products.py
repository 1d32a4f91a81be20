from collections.abc import Callable

import pytest
import torch
from references import MemoryModel, assert_same
from torch import nn

from tmem.model import HFEngine, Request, products
from tmem.model.products import by_onednn, large_linears

WithMemories = Callable[[str], MemoryModel]

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


def test_only_large_plain_linear_maps_in_float32_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LARGE", 12)

    class Own(nn.Linear):
        pass

    replaced = nn.Linear(3, 4)
    replaced.forward = lambda x: x
    few, own, half = nn.Linear(3, 3), Own(3, 4), nn.Linear(3, 4).bfloat16()
    large = nn.Linear(3, 4)
    assert large_linears(nn.Sequential(few, own, half, replaced, large)) == [large]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (3, 7)])
def test_a_product_is_that_of_torch_and_hooks_see_it(bias: bool, shape: tuple[int, int]) -> None:
    linear, x = nn.Linear(48, 80, bias=bias), torch.randn(*shape, 48)
    seen: list[torch.Tensor] = []
    handle = linear.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        with by_onednn([linear]):
            found = linear(x)
        assert len(seen) == 1 and seen[0] is found
        handle.remove()
        torch.testing.assert_close(found, linear(x), rtol=1e-5, atol=1e-5)
    assert "forward" not in vars(linear)


def test_a_transposed_or_cut_input_is_read_right() -> None:
    linear, x = nn.Linear(48, 80), torch.randn(48, 18)[:, ::2].mT
    with torch.no_grad(), by_onednn([linear]):
        found = linear(x)
    torch.testing.assert_close(found, linear(x), rtol=1e-5, atol=1e-5)


def test_what_replaced_it_is_gone_after_an_error() -> None:
    linear = nn.Linear(48, 80)
    with pytest.raises(RuntimeError, match="stop"), by_onednn([linear]):
        raise RuntimeError("stop")
    assert "forward" not in vars(linear)


def test_texts_are_those_of_torch(with_memories: WithMemories, monkeypatch: pytest.MonkeyPatch) -> None:
    model, fast, delta = with_memories("qwen3")
    asked = [Request((5 + row, 9, 11 + row, 4), row, 6, stop="eos") for row in range(3)]
    asked += [Request(tuple(range(10, 90)), None, 6, stop="eos")]
    plain = HFEngine(model).generate(asked, delta, fast)
    used: list[nn.Linear] = []
    product = products._product
    monkeypatch.setattr(products, "LARGE", 1)
    monkeypatch.setattr(products, "_product", lambda linear, x: used.append(linear) or product(linear, x))
    found = HFEngine(model).generate(asked, delta, fast)
    assert {id(linear) for linear in used} == {id(part) for part in model.hf.modules() if type(part) is nn.Linear}
    assert_same(found, plain)
