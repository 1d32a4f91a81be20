"""Loading a base model by name or directory, with everything of it that the rest of tmem needs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tmem.errors import DataError, ModelError, UsageError
from tmem.fastweights import PROBE, Basis, Example, FastWeights, Probe, Recipe, TailReplay, get_recipe, probe
from tmem.fastweights.basis import tensors_hash
from tmem.fastweights.fresh import Held
from tmem.model import files
from tmem.model import packed as packing
from tmem.model.adapter import CONFIG, READER, adapters_hash, lay_beside
from tmem.model.attention import use_cpu_attention
from tmem.model.chat import Chat, Message
from tmem.model.decode_step import Written, linears
from tmem.model.head import Head
from tmem.model.rotation import rotate_as_longest, window_of
from tmem.model.settings import ModelSettings, read_settings
from tmem.model.wordings import Wordings
from tmem.seeds import derive
from tmem.turn import Turn

# On a CPU smaller models are computed in float32 whatever they are stored in: exact, and on most of them also faster.
FLOAT32_BELOW = 1_000_000_000  # parameters

# From this size on, what follows from the weights takes long enough to be worth a file beside them.
LARGE = 100_000_000  # parameters

# Steps after which a copy in float16 has cost less than it gains: packing takes as long as 100 to 150 steps spare.
PACK_AFTER = 128

Weights = Literal["auto", "float32", "float16", "bfloat16"]


class Model:
    """A base model theta_0, frozen and in eval mode, with its tokenizer, chat template and settings."""

    def __init__(
        self,
        name: str,
        directory: Path,
        hf: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: ModelSettings,
        weights: packing.Weights = "float32",
    ) -> None:
        self.name = name
        self.weights = weights  # what decoding reads, if not these themselves a copy; see tmem.model.packed
        self.directory = directory
        self.hf = hf.eval().requires_grad_(False)
        self.turn = Turn()
        self.reader = self  # who reads for the gate: itself, or the same weights with an adapter beside them
        use_cpu_attention(self.hf)
        self.tokenizer = tokenizer
        self.settings = settings
        rotate_as_longest(self.hf, self.window)
        self.chat = Chat(name, tokenizer, self.hf.get_input_embeddings().weight.shape[0])
        # Many questions about one stream count the same texts.
        self._count = lru_cache(maxsize=4096)(lambda text: len(self.chat.encode(text)))
        self._pieces: dict[int, str] = {}
        self._fast: dict[tuple[Any, ...], FastWeights] = {}
        if settings.basis is not None:
            basis = Basis.load(directory / settings.basis, hf)
            self._fast[(basis.init, basis.layers, basis.rank)] = FastWeights(hf, basis)
        self._replay: dict[int, TailReplay] = {}
        self._written: tuple[list[tuple[int, int]], Written | None] = [], None
        self._follows: bool | None = None  # True if its step of decoding is what is written out
        self.gates: dict[int, Any] = {}  # by first adapted layer; see tmem.model.gate
        self.held: dict[int, Held] = {}  # by first adapted layer; see tmem.model.held
        self.trained = False  # True once the weights are no longer those of the directory

    def twin(self) -> Model:
        """The same model for another thread at the same time: its weights, with hooks, caches and a turn of its own."""
        other = self._beside(self.hf)
        other.weights_hash, other.held, other.trained = self.weights_hash, self.held, self.trained
        other._fast = {key: FastWeights(other.hf, fast.basis) for key, fast in self._fast.items()}
        if self.reader is not self:
            other.reader = self._beside(self.reader.hf)
            other.reader.turn = other.turn
        return other

    def _beside(self, hf: PreTrainedModel) -> Model:
        """A model over the same weights, with hooks and caches of its own."""
        hf = copy.deepcopy(hf, {id(parameter): parameter for parameter in hf.parameters()})
        return Model(self.name, self.directory, hf, self.tokenizer, self.settings, self.weights)

    def read_with(self, adapter: Path) -> None:
        """Lay an adapter beside the weights where theta_0 reads for the gate.

        A training that changes the weights changes what it reads with; a slow LoRA that is not merged does not.
        """
        reader = self._beside(self.hf)
        lay_beside(reader.hf, adapter)
        self.reader, reader.turn = reader, self.turn

    def changed(self) -> None:
        """Say that a training changed the weights: what was made from the old ones is made anew when it is needed."""
        self.trained = True
        self.gates.clear()
        self.held.clear()
        self._written = [], None
        self.__dict__.pop("weights_hash", None)

    @property
    def origin(self) -> str:
        """What others open it by: its name on the hub if it is from there, else where its files are."""
        folder = self.directory.resolve()
        fetched = folder.parent.name == "snapshots" and folder.parents[1].name.startswith("models--")
        return folder.parents[1].name.removeprefix("models--").replace("--", "/", 1) if fetched else str(folder)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.hf.device
        return device

    @property
    def dtype(self) -> str:
        """The type of the weights, as :func:`load` takes it."""
        return str(self.hf.dtype).removeprefix("torch.")

    @property
    def window(self) -> int:
        """The longest sequence, prompt and answer together, in tokens."""
        return self.settings.window or window_of(self.hf)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a generation: the model's, its tokenizer's and its chat template's."""
        eos = self.hf.generation_config.eos_token_id if self.hf.generation_config else None
        ids = {self.chat.end_of_turn, *(eos if isinstance(eos, list) else [eos]), self.tokenizer.eos_token_id}
        return frozenset(token for token in ids if isinstance(token, int))

    @cached_property
    def weights_hash(self) -> str:
        """sha256 over every parameter as float32: the identity of theta_0. Reads all weights once."""
        return tensors_hash(self.hf.named_parameters())

    @property
    def identity(self) -> str:
        """What figures are of: theta_0, with what lies beside it where it reads for the gate."""
        if self.reader is self:
            return self.weights_hash
        return f"{derive(self.weights_hash, adapters_hash(self.reader.hf)):016x}"

    @cached_property
    def wordings(self) -> Wordings:
        """What else may be asked where a pair is told. Raises :class:`ModelError` for a broken file."""
        return Wordings.read(self.directory)

    @cached_property
    def refusal(self) -> int | None:
        """The token that a memory begins a refusal with, None for a model whose memories are not taught to refuse."""
        return self.example("?", self.wordings.refusal).answer_ids[0] if self.wordings.groups else None

    @cached_property
    def head(self) -> Head:
        """From hidden states to logits, without the layers."""
        return Head(self.hf)

    def encode_chat(self, messages: Sequence[Message], begun: str = "") -> list[int]:
        """Prompt tokens for the next assistant message, which begins with ``begun``; see :class:`Chat`."""
        return self.chat.encode_chat(messages, begun)

    def bare(self, question: str) -> list[int]:
        """The prompt of a question and nothing else: what pairs are written under."""
        return self.chat.encode_chat([{"role": "user", "content": question}])

    def example(self, question: str, answer: str) -> Example:
        """A question-answer pair to write: the question's chat prompt, then answer and end of turn."""
        return self.chat.example(question, answer)

    def count(self, text: str) -> int:
        """The length of a text in tokens, without special tokens."""
        return self._count(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without special tokens."""
        return self.chat.decode(ids)

    def piece(self, token: int) -> str:
        """A token's text on its own: brackets, quotes and backslashes are whole in every tokenizer."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self.decode([token])
        return piece

    def recipe(self, name: str = "tmem", **overrides: Any) -> Recipe:
        """The named write recipe as changed by this model's settings, and then by ``overrides``."""
        plain = get_recipe(name).fresh is None  # the model's rate is one of SGD
        settings = {"lr": self.settings.lr} if plain and self.settings.lr is not None else {}
        return get_recipe(name, **{**settings, **self.settings.recipes.get(name, {}), **overrides})

    def probe(self, recipe: Recipe) -> Probe:
        """What a few pairs measure on this model, and the rate that follows from it."""
        return probe(self.fast(recipe), [self.example(question, answer) for question, answer in PROBE])

    def fast(self, recipe: Recipe) -> FastWeights:
        """The fast weights of a recipe's basis; recipes with the same basis share them."""
        key = (recipe.init, recipe.layers, recipe.rank)
        if key not in self._fast:
            store = self.directory if self.hf.num_parameters() >= LARGE else None
            basis = Basis.cached(self.hf, store, layers=recipe.layers, rank=recipe.rank, init=recipe.init)
            self._fast[key] = FastWeights(self.hf, basis)
        return self._fast[key]

    def written(self) -> Written | None:
        """A step of decoding written out, with the weights of now; None for a model that it was not written for."""
        if self._follows is False or not linears(self.hf):
            return None
        versions = [(own.data_ptr(), own._version) for own in self.hf.parameters()]
        step = self._written[1] if versions == self._written[0] else None
        if step is None:
            if self._follows is None:
                self._follows = Written(self.hf, "float32").agrees()
                if not self._follows:
                    warnings.warn(
                        f"{self.name}: its layers do something else than the step of decoding that is written out for "
                        "its family: it takes the forward pass, which is slower",
                        stacklevel=2,
                    )
            step = Written(self.hf, "float32") if self._follows else None
        # In bfloat16 an answer must not hang on how much was answered before it.
        if (
            step is not None
            and step.weights != self.weights
            and (step.done >= PACK_AFTER or self.weights == "bfloat16")
        ):
            step = Written(self.hf, self.weights)
        self._written = versions, step
        return step

    def replay(self, recipe: Recipe) -> TailReplay:
        """The trunk-once view that belongs to a recipe's adapted layers."""
        return self.replay_from(self.fast(recipe).target_modules[0].layer)

    def replay_from(self, first_layer: int) -> TailReplay:
        """The trunk-once view whose tail begins at this layer."""
        if first_layer not in self._replay:
            self._replay[first_layer] = TailReplay(self.hf, first_layer)
        return self._replay[first_layer]


def load(
    name: str | Path,
    device: str | torch.device | None = None,
    dtype: str = "auto",
    notice: Callable[[str], None] = lambda text: None,
    weights: Weights = "auto",
) -> Model:
    """Load an embedded model, a local directory, a GGUF file or a model of the hub, looked for in this order.

    ``device`` None is the GPU if there is one. ``dtype`` ``auto`` is the checkpoint's own type, but float32 below a
    billion parameters on a CPU and of a checkpoint in float16; otherwise ``float32``, ``bfloat16`` or ``float16``.
    ``notice`` is told what takes long, once: a GGUF file is turned into safetensors (:mod:`tmem.model.gguf`).
    ``weights``: what decoding on a CPU reads the weights of a model in float32 from. ``auto`` is a copy in float16,
    half of the bytes, where the checkpoint is in float16 or bfloat16, whose numbers it holds. ``float16`` rounds other
    checkpoints to it, and ``bfloat16`` to that: writes see these weights, too, and memories are those of another base.
    ``bfloat16`` besides multiplies many rows in it where the processor can (:mod:`tmem.model.packed`). Sums are float32
    in any case. Where that cannot be, ``notice`` is told if it was wanted, and what is more exact is taken.
    Nothing is unpickled and no code of a model is ever run. Raises :class:`ModelError` in one line for whatever is
    missing or broken.
    """
    name = str(name)
    if weights not in get_args(Weights):
        raise UsageError(f"unknown weights '{weights}': choose one of {', '.join(get_args(Weights))}")
    directory = files.find(name, notice)
    files.check(name, directory)
    settings = read_settings(directory)
    tokenizer = files.read_tokenizer(name, directory)
    Chat(name, tokenizer)  # a missing chat template is noticed before the weights are read
    hf = files.read_weights(name, directory, dtype)
    stored = hf.dtype
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    exact = torch.device(device).type == "cpu" or hf.dtype == torch.float16  # whose range is small, also on a GPU
    if dtype == "auto" and exact and hf.num_parameters() < FLOAT32_BELOW:
        hf = hf.float()
    torch.nn.Module.to(hf, device)
    reads: packing.Weights = "float16" if weights == "auto" and stored in packing.HELD else "float32"
    if weights in ("float16", "bfloat16"):
        reads = weights
    if reads != "float32" and (problem := _cannot_pack(hf)) is not None:
        reads = "float32"
        if weights != "auto":
            notice(f"{name}: {problem}: its weights are read in float32")
    if reads == weights and reads != "float32":
        if reads == "bfloat16" and not packing.native():
            notice(f"{name}: this processor does not multiply bfloat16: its products are those of float16")
        held = packing.HELD if reads == "float16" else (torch.bfloat16,)
        if stored not in held:
            with torch.no_grad():
                for linear in linears(hf):
                    linear.weight.copy_(linear.weight.to(getattr(torch, reads)))
    model = Model(name, directory, hf, tokenizer, settings, reads)
    if (directory / READER / CONFIG).exists():
        try:
            model.read_with(directory / READER)
        except DataError as error:
            raise ModelError(f"{name}: its reader cannot be read ({error})") from None
    return model


def _cannot_pack(hf: PreTrainedModel) -> str | None:
    """Why decoding cannot read a copy in float16, None if it can."""
    own = linears(hf)
    if not own:
        return "decoding is written out for Llama, Mistral, Qwen 2 and 3 in float32 on a CPU alone"
    if not packing.available():
        return "this torch has no products with weights in float16 for this processor"
    if any(float(linear.weight.detach().abs().max()) > packing.MOST for linear in own):
        return "some of its weights are beyond the range of float16"
    return None
