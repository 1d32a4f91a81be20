"""The trained half of the fast weights: B of many memories, and the hooks that add B A x to the model's W x.

A :class:`Delta` is an argument of a forward pass, never a state of the model: ``with fast.active(delta,
rows): model(...)``. Nothing is merged into the weights, which in bf16 would round most of a small Delta away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmem.errors import DeltaError, ModelError
from tmem.fastweights.basis import Basis, read_safetensors, tensors_hash
from tmem.fastweights.target_modules import TargetModule, find_target_modules
from tmem.files import save_safetensors


@dataclass(frozen=True, eq=False)
class Delta:
    """The memories of ``sessions`` users: target module name -> B (sessions, out, rank) float32, on one basis."""

    b: Mapping[str, Tensor]
    basis_digest: str

    @property
    def sessions(self) -> int:
        return next(iter(self.b.values())).shape[0]

    @property
    def is_zero(self) -> bool:
        """True if no session has written anything yet."""
        return not any(bool(value.any()) for value in self.b.values())

    def select(self, rows: Sequence[int]) -> Delta:
        """A copy of the given sessions, in the given order."""
        return self._map(lambda value: rank_first(value[list(rows)]))

    def clone(self) -> Delta:
        """A copy that shares nothing and asks for no gradient."""
        return self._map(lambda value: value.detach().clone())

    def to(self, device: str | torch.device) -> Delta:
        """The same memories on another device."""
        return self._map(lambda value: value.to(device))

    @staticmethod
    def cat(deltas: Sequence[Delta]) -> Delta:
        """All sessions of several deltas, in order. Raises :class:`DeltaError` for none or mixed bases."""
        if len({delta.basis_digest for delta in deltas}) != 1:
            raise DeltaError("only memories made on one basis can be joined, and at least one of them")
        first = deltas[0]
        b = {name: torch.cat([delta.b[name].mT for delta in deltas]).mT for name in first.b}
        return Delta(b, first.basis_digest)

    def digest(self, row: int) -> str:
        """sha256 (hex) of one session's B: equal digests mean bit-equal memories."""
        return tensors_hash((name, value[row]) for name, value in self.b.items())

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write every session's B as one safetensors file; ``metadata`` is stored with it."""
        save_safetensors(path, dict(self.b), {**(metadata or {}), "basis_digest": self.basis_digest})

    @classmethod
    def load(cls, path: str | Path, basis: Basis) -> Delta:
        """Read memories onto the CPU. Raises :class:`DeltaError` if they were made on another basis."""
        tensors, facts = read_safetensors(path)
        digest = facts.get("basis_digest", "")
        if digest != basis.digest:
            raise DeltaError(
                f"{path}: made on another basis ({digest[:12]}, not {basis.digest[:12]}): load its base model"
            )
        shapes_fit = all(value.dim() == 3 and value.shape[2] == basis.rank for value in tensors.values())
        if set(tensors) != set(basis.a) or not shapes_fit or len({len(b) for b in tensors.values()}) != 1:
            raise DeltaError(
                f"{path}: the file is damaged: it must hold one B (sessions, out, {basis.rank}) per target module"
            )
        return cls({name: rank_first(tensors[name].float()) for name in basis.a}, digest)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Delta:
        return Delta({name: change(value) for name, value in self.b.items()}, self.basis_digest)


def rank_first(b: Tensor) -> Tensor:
    """The same B (S, out, rank), lying in memory as (S, rank, out): a quarter of the time for a step of a token a row.

    A copy, or itself if it lies like that. Memories are made so; where gradients are wanted any order is left alone.
    """
    return b.mT.contiguous().mT


def together(deltas: Sequence[Delta | None]) -> tuple[Delta | None, list[int]]:
    """All of these memories as one, each once in the order in which they come, and the first row of each, -1 for none.

    A single one is given back as it is.
    """
    own = {id(delta): delta for delta in deltas if delta is not None}
    firsts, count = {}, 0
    for key, delta in own.items():
        firsts[key], count = count, count + delta.sessions
    several = list(own.values())
    one = several[0] if len(several) == 1 else Delta.cat(several) if several else None
    return one, [firsts.get(id(delta), -1) for delta in deltas]


class _Segment(NamedTuple):
    """Consecutive batch rows, of which each of G sessions in turn owns an equal share."""

    rows: int  # -1: the whole batch, however large
    b: dict[str, Tensor]  # target module -> (G, out, rank)


Addition = Callable[[Tensor, Tensor], Tensor]  # a linear layer's input and output, to the output with Delta's part
_ACTIVE: WeakSet[nn.Module] = WeakSet()  # models that have hooks at the moment


class FastWeights:
    """The target modules of one model with their A. Nothing is attached to the model outside of :meth:`active`."""

    def __init__(self, model: nn.Module, basis: Basis):
        self.model = model
        self.basis = basis
        self.target_modules: list[TargetModule] = find_target_modules(model, basis.layers)
        shapes = {target.name: (basis.rank, target.in_features) for target in self.target_modules}
        if shapes != {name: tuple(value.shape) for name, value in basis.a.items()}:
            raise ModelError(
                "the basis does not fit this model's target modules: it was made from another architecture"
            )
        self._a = {target.name: basis.a[target.name].to(target.weight.device) for target in self.target_modules}
        # Phi-3 has two in one linear, hence one hook per linear; its target modules are its row blocks in order.
        self._linears = [
            (linear, list(group)) for linear, group in groupby(self.target_modules, key=lambda target: target.module)
        ]
        self._norms: tuple[list[tuple[int, int]], dict[str, float]] | None = None

    def zeros(self, sessions: int) -> Delta:
        """Empty memories: B = 0 for every target module, on the model's device."""
        b = {
            target.name: torch.zeros(sessions, self.basis.rank, target.out_features, device=target.weight.device).mT
            for target in self.target_modules
        }
        return Delta(b, self.basis.digest)

    def check(self, delta: Delta) -> None:
        """Raise :class:`DeltaError` if ``delta`` was not made for this model and basis."""
        if delta.basis_digest != self.basis.digest:
            raise DeltaError(
                f"this memory was made on another basis ({delta.basis_digest[:12]}, "
                f"not {self.basis.digest[:12]}): use it with its own base model"
            )
        for target in self.target_modules:
            if tuple(delta.b[target.name].shape[1:]) != (target.out_features, self.basis.rank):
                raise DeltaError(f"this memory has a B of shape {tuple(delta.b[target.name].shape)} for {target.name}")

    @contextmanager
    def active(
        self,
        delta: Delta | None,
        rows: Sequence[int] | Tensor | None = None,
        watch: Callable[[str, Tensor], None] | None = None,
    ) -> Iterator[None]:
        """Inside, every forward pass of the model adds B A x at each target module.

        ``rows[i]`` is the session that batch row i uses, -1 for no memory (exactly the base model). Without
        ``rows`` the batch is sorted by session and holds equally many rows of each. ``watch(target, u)`` sees u
        = A x, (N, T, rank) float32. Gradients flow to B and to the base weights as far as these ask for them;
        ``backward()`` belongs inside if the model recomputes activations. Raises :class:`DeltaError` for
        another basis, a nested use, or a batch that does not fit.
        """
        additions = self.additions(delta, rows, watch)
        _ACTIVE.add(self.model)
        handles = []
        try:
            for linear, add in additions.items():
                handles.append(linear.register_forward_hook(lambda module, args, y, add=add: add(args[0], y)))
            yield
        finally:
            for handle in handles:
                handle.remove()
            _ACTIVE.discard(self.model)

    def additions(
        self,
        delta: Delta | None,
        rows: Sequence[int] | Tensor | None = None,
        watch: Callable[[str, Tensor], None] | None = None,
    ) -> dict[nn.Module, Addition]:
        """What :meth:`active` does at each adapted linear layer, for who calls them otherwise; none without a memory.

        An addition takes the layer's input and output, (N, ..., in) and (N, ..., out), and gives the output with Delta
        added, in place where it can.
        """
        if self.model in _ACTIVE:
            raise DeltaError("fast weights are already active: leave the first `active` block before entering another")
        if delta is None:
            return {}
        self.check(delta)
        chosen = rows.tolist() if isinstance(rows, Tensor) else None if rows is None else list(rows)
        segments = self._segments(delta, chosen)
        if not segments:
            return {}
        return {linear: self._addition(targets, segments, chosen, watch) for linear, targets in self._linears}

    def norm_ratio(self, delta: Delta) -> tuple[Tensor, dict[str, Tensor]]:
        """|B A|_F / |W|_F of every session, (sessions,): over all target modules together, and by target module."""
        changes, by_site = [], {}
        for target in self.target_modules:
            a, b = self._a[target.name], delta.b[target.name].to(self._a[target.name].device)
            square = ((b.mT @ b) * (a @ a.mT)).sum((1, 2)).clamp_min(0)  # |BA|^2 = tr(B^T B A A^T), (S,)
            changes.append(square)
            by_site[target.name] = square.sqrt() / self._weight_norms[target.name]
        total = torch.tensor([norm**2 for norm in self._weight_norms.values()]).sum().sqrt()
        return torch.stack([square.cpu() for square in changes]).sum(0).sqrt() / total, by_site

    @property
    def _weight_norms(self) -> dict[str, float]:
        """|W|_F by target module; computed again when theta_0 was trained further."""
        versions = [(target.module.weight.data_ptr(), target.module.weight._version) for target in self.target_modules]
        if self._norms is None or self._norms[0] != versions:
            norms = (
                torch.linalg.vector_norm(target.weight.detach(), dtype=torch.float32) for target in self.target_modules
            )
            self._norms = (
                versions,
                {target.name: float(norm) for target, norm in zip(self.target_modules, norms, strict=True)},
            )
        return self._norms[1]

    def _segments(self, delta: Delta, rows: list[int] | None) -> list[_Segment]:
        """How the batch is cut so that each piece is one batched product; empty if no row has a memory."""
        if rows is None:
            return [_Segment(-1, {name: self._placed(value, name) for name, value in delta.b.items()})]
        wrong = next((row for row in rows if not -1 <= row < delta.sessions), None)
        if wrong is not None:
            raise DeltaError(f"there is no session {wrong}: use 0 to {delta.sessions - 1}, or -1 for no memory")
        if all(row == -1 for row in rows):
            return []
        segments = []
        for count, sessions in _equal_runs(rows):
            b = {name: self._placed(_pick(value, sessions), name) for name, value in delta.b.items()}
            segments.append(_Segment(count * len(sessions), b))
        return segments

    def _placed(self, b: Tensor, target: str) -> Tensor:
        b = b.to(self._a[target].device)
        return b if torch.is_grad_enabled() else rank_first(b)

    def _addition(
        self,
        targets: list[TargetModule],
        segments: list[_Segment],
        rows: list[int] | None,
        watch: Callable[[str, Tensor], None] | None,
    ) -> Addition:
        sessions = len(segments[0].b[targets[0].name])
        counts = [segment.rows for segment in segments]

        def add(x: Tensor, output: Tensor) -> Tensor:
            x = x.float()  # (N, T, in)
            if rows is not None and len(x) != len(rows):
                raise DeltaError(f"the batch has {len(x)} rows but `rows` names a session for {len(rows)}")
            if rows is None and len(x) % sessions:
                raise DeltaError(f"the batch of {len(x)} rows is no multiple of {sessions} sessions: pass `rows`")
            blocks = []
            for target, y in zip(targets, _split(output, [target.out_features for target in targets], -1), strict=True):
                u = F.linear(x, self._a[target.name])  # (N, T, rank)
                if watch is not None:
                    watch(target.name, u)
                cuts = zip(segments, _split(y, counts, 0), _split(u, counts, 0), strict=True)
                parts = [_add(y_cut, u_cut, segment.b[target.name]) for segment, y_cut, u_cut in cuts]
                blocks.append(parts[0] if len(parts) == 1 else torch.cat(parts))
            return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)

        return add


def active(fast: FastWeights | None, delta: Delta | None, rows: Sequence[int]) -> AbstractContextManager[None]:
    """:meth:`FastWeights.active`; without fast weights the model is as it is."""
    return nullcontext() if fast is None else fast.active(delta, rows)


def _split(x: Tensor, sizes: list[int], dim: int) -> tuple[Tensor, ...]:
    """``x`` cut along ``dim``; left alone if it stays in one piece, which spares autograd a copy."""
    return (x,) if len(sizes) == 1 else torch.split(x, sizes, dim)


def _add(y: Tensor, u: Tensor, b: Tensor) -> Tensor:
    """y (n, T, out) + u (n, T, rank) B^T; b (G, out, rank) has G sessions with equal shares of the n rows."""
    groups, out, rank = b.shape
    u = u.reshape(groups, -1, rank)
    if y.dtype == torch.float32:  # one pass over y instead of two
        y_by_group = y.reshape(groups, -1, out)
        if torch.is_grad_enabled() or y_by_group.data_ptr() != y.data_ptr():
            return torch.baddbmm(y_by_group, u, b.mT).view(y.shape)
        y_by_group.baddbmm_(u, b.mT)  # what a linear gave belongs to nobody else
        return y
    return y + torch.bmm(u, b.mT).view(y.shape).to(y.dtype)


def _equal_runs(rows: list[int]) -> list[tuple[int, list[int]]]:
    """Cut rows into segments (count, sessions): each session in turn owns ``count`` consecutive rows.

    [0, 0, 1, 1, 2] -> [(2, [0, 1]), (1, [2])]. If that gives many short segments, one product with a B for
    every row is faster than a loop over them: [(1, rows)].
    """
    runs = [(session, len(list(run))) for session, run in groupby(rows)]
    segments = [(count, [session for session, _ in equal]) for count, equal in groupby(runs, key=lambda run: run[1])]
    return segments if len(segments) <= max(2, len(rows) // 8) else [(1, rows)]


def _pick(b: Tensor, sessions: list[int]) -> Tensor:
    """B of the given sessions, (G, out, rank): a view where they are consecutive, zeros for session -1."""
    if sessions == list(range(len(b))):
        return b
    first, count = sessions[0], len(sessions)
    if first >= 0 and sessions == list(range(first, first + count)):
        return b[first : first + count]
    index = torch.tensor(sessions, device=b.device)
    # A write's bits depend on the order in memory: with gradients it is that of a plain index.
    kept = index.clamp_min(0)
    chosen = b[kept] if torch.is_grad_enabled() else b.mT[kept].mT
    return chosen if min(sessions) >= 0 else torch.where((index >= 0)[:, None, None], chosen, 0.0)
