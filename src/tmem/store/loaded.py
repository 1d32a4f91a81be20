"""The ledger of one scope with the model that it belongs to: what answers, and its weights for elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tmem.errors import UsageError
from tmem.files import check_folder
from tmem.store.care import export
from tmem.store.home import Home
from tmem.store.view import View
from tmem.turn import Turn

if TYPE_CHECKING:
    from tmem.agent.prompts import PromptSet
    from tmem.fastweights import Delta
    from tmem.model import Model
    from tmem.store.actions import Actions
    from tmem.store.weights.trainer import FastWeightTrainer


class Shared:
    """What the memories of one home have in common; ``actions`` gives the model, loaded when it is first needed.

    ``turn``: whoever holds it uses the model, one thread at a time. Whoever needs a scope's lock too takes that one
    first.
    """

    def __init__(self, home: Home, actions: Callable[[], Actions], turn: Turn) -> None:
        self.home, self.actions, self.turn = home, actions, turn


class Loaded(View):
    """A :class:`View` with a model, which is loaded when it is first needed."""

    def __init__(self, shared: Shared, scope: str) -> None:
        super().__init__(shared.home, scope)
        self._shared, self._turn = shared, shared.turn

    @property
    def actions(self) -> Actions:
        """What the model does for this memory."""
        return self._shared.actions()

    @property
    def trainer(self) -> FastWeightTrainer:
        """What makes the weights."""
        return self.actions.trainer

    @property
    def model(self) -> Model:
        """The base model."""
        return self.actions.model

    @property
    def by_pairs(self) -> bool:
        """True if the weights follow from the pairs that hold alone, and a gate says when they are asked."""
        return self.trainer.by_pairs

    @property
    def prompts(self) -> PromptSet:
        """What the model is asked with."""
        return self.actions.prompts

    def save_pretrained(self, folder: str | Path, *, version: str | int | None = None) -> None:
        """Write the weights as a LoRA adapter that ``peft.PeftModel.from_pretrained`` loads onto the base model.

        A memory of several blocks becomes an adapter in a folder of its own for each: which of them a question is asked
        of is decided by the gate, which no adapter has.

        It is personal data, like the text that it was made from, and no forgetting reaches it.
        """
        with self._turn:
            delta = self._exported(version)
            if delta.sessions > 1:
                check_folder(Path(folder))
            for row in range(delta.sessions):
                own = Path(folder) / f"block-{row + 1}" if delta.sessions > 1 else Path(folder)
                export.save_peft(own, self.trainer.fast, delta.b, self.model.origin, row)
                export.save_readme(own, self.model)

    def save_gguf(self, folder: str | Path, *, version: str | int | None = None, base: str | None = None) -> list[Path]:
        """The same for llama.cpp, a file ``tmem-<scope>-<digest>.gguf`` for each block; one that is there is the same.

        ``base``: also the base model, of the type f32, f16, bf16 or q8_0. Returns the files, the base last. Raises
        :class:`ModelError` for an architecture that is not Llama's, Qwen2's or Qwen3's.
        """
        with self._turn:
            delta = self._exported(version)
            return export.save_gguf(Path(folder), self.model, self.trainer.fast, delta, self.id[:12], base)

    def _exported(self, version: str | int | None) -> Delta:
        """The weights of a version. Raises :class:`UsageError` if there are none."""
        number = self.home.head(self.id) if version is None else self._number(version)
        delta = self.trainer.delta(self.home.state(self.id, number))
        if not delta.sessions:
            raise UsageError("nothing was written to this memory yet: there are no weights to export")
        return delta
