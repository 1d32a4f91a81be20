"""States of memories, and what makes them: all that a ledger has to know of either. Nothing here loads torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tmem.store.ledger.history import Step

if TYPE_CHECKING:
    from torch import Tensor

Tensors: TypeAlias = "dict[str, Tensor]"
ABOUT = "about."  # how tensors of a state begin that stand beside the weights


@dataclass(frozen=True)
class Trained:
    """The state after a step, and what there is to say of it. ``refused``: why it must not be published."""

    state: Tensors
    account: dict[str, Any]
    refused: str | None = None


class Trainer(Protocol):
    """What turns pairs into weights. ``engine`` says with what: states of another engine are refused."""

    @property
    def engine(self) -> dict[str, Any]: ...

    @property
    def by_pairs(self) -> bool:
        """True if a state follows from the pairs that hold alone, by whatever way: only a last step has to be run."""
        ...

    def zeros(self) -> Tensors:
        """The state of a memory that was told nothing."""
        ...

    def train(self, state: Tensors, step: Step, look: bool = True) -> Trained:
        """The state after ``step``: a pure function of both.

        ``look``: also run the model over what was written, for the account and for what must not be published; a
        step that is only replayed was looked at when it was published.
        """
        ...

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Raise :class:`DeltaError` for tensors that are no state of this trainer."""
        ...


def processor() -> str:
    """What decides how products are rounded on this machine, beside what an engine names: its instruction set."""
    import torch

    from tmem.fastweights.rounded import NATIVE

    capability = torch.backends.cpu.get_cpu_capability()
    # Some that have the former have the latter, too, and add up otherwise with it.
    return f"{capability} without bfloat16" if capability == "AVX512" and not NATIVE else capability


class Later:
    """A trainer that is made when it is first needed: who only looks at a ledger needs none."""

    def __init__(self, make: Callable[[], Trainer]) -> None:
        self._make = make

    @property
    def engine(self) -> dict[str, Any]:
        return self._make().engine

    @property
    def by_pairs(self) -> bool:
        return self._make().by_pairs

    def zeros(self) -> Tensors:
        return self._make().zeros()

    def train(self, state: Tensors, step: Step, look: bool = True) -> Trained:
        return self._make().train(state, step, look)

    def check(self, state: Mapping[str, Tensor]) -> None:
        self._make().check(state)


def weights(state: Mapping[str, Tensor]) -> Tensors:
    """B alone, without what stands beside it."""
    return {name: value for name, value in state.items() if not name.startswith(ABOUT)}


def state_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 (hex) of a state: equal digests mean bit-equal weights."""
    from tmem.fastweights.basis import tensors_hash

    return tensors_hash(sorted(weights(state).items()))


def beside_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 (hex) of what stands beside the weights, "" for nothing: only whether a file is whole follows from it."""
    beside = sorted((name, value) for name, value in state.items() if name.startswith(ABOUT))
    hasher = hashlib.sha256()
    for name, value in beside:
        hasher.update(f"{name} {tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes())
    return hasher.hexdigest() if beside else ""
