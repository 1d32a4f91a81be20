"""Loading a base model by name or directory, with everything of it that the rest of tmem needs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from tmem import assets
from tmem.errors import DataError, ModelError, UsageError, first_line
from tmem.fastweights import PROBE, Basis, Example, FastWeights, Probe, Recipe, TailReplay, get_recipe, probe
from tmem.fastweights.basis import tensors_hash
from tmem.fastweights.fresh import Held
from tmem.files import read_json
from tmem.model import gguf
from tmem.model import packed as packing
from tmem.model.attention import use_cpu_attention
from tmem.model.chat import Chat, Message
from tmem.model.decode_step import Written, linears
from tmem.model.head import Head
from tmem.model.settings import ModelSettings, read_settings
from tmem.model.wordings import Wordings
from tmem.turn import Turn

# On a CPU smaller models are computed in float32 whatever they are stored in: exact, and on most of them also faster.
FLOAT32_BELOW = 1_000_000_000  # parameters

# From this size on, what follows from the weights takes long enough to be worth a file beside them.
LARGE = 100_000_000  # parameters

# Kinds of layers whose past is keys and values. Others keep a state, which cannot be cut, shared or taken up again.
ATTENDING = {"full_attention", "sliding_attention", "chunked_attention"}

# Steps after which a copy in float16 has cost less than it gains: packing takes as long as 100 to 150 steps spare.
PACK_AFTER = 128

Weights = Literal["auto", "float32", "float16", "bfloat16"]

# What is fetched from the hub. Mistral's repositories hold a second copy of the weights under another name.
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_HUB_SKIP = ["consolidated*", "original/*", "*/*.safetensors"]


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
        use_cpu_attention(self.hf)
        self.tokenizer = tokenizer
        self.settings = settings
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
        hf = copy.deepcopy(self.hf, {id(parameter): parameter for parameter in self.hf.parameters()})
        other = Model(self.name, self.directory, hf, self.tokenizer, self.settings, self.weights)
        other.weights_hash, other.held, other.trained = self.weights_hash, self.held, self.trained
        other._fast = {key: FastWeights(hf, fast.basis) for key, fast in self._fast.items()}
        return other

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
        return self.settings.window or int(self.hf.config.get_text_config().max_position_embeddings)

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
    directory = _directory(name, notice)
    _check_files(name, directory)
    settings = read_settings(directory)
    tokenizer = _load_tokenizer(name, directory)
    Chat(name, tokenizer)  # a missing chat template is noticed before the weights are read
    hf = _load_weights(name, directory, dtype)
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
    return Model(name, directory, hf, tokenizer, settings, reads)


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


def _directory(name: str, notice: Callable[[str], None]) -> Path:
    """Where the model's files are, fetched from the hub or made from a GGUF file if need be."""
    embedded = assets.path(name)
    if embedded is not None:
        return embedded
    if Path(name).is_dir():
        return Path(name)
    file = gguf.shipped(name)
    if file is not None or name.lower().endswith(".gguf"):
        return gguf.converted(file or Path(name), notice, assets.taught(name) if file else None)
    # Every chat model of the hub has an owner: anything but owner/name is a slip, not worth asking the
    # network.
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        shipped = ", ".join([*assets.names(), *(own for own, package in gguf.SHIPPED.items() if find_spec(package))])
        raise ModelError(
            f"unknown model '{name}': no embedded model (there are: {shipped or 'none'}), no directory, no GGUF file, "
            "and not an owner/name of the Hugging Face hub"
        )
    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES, ignore_patterns=_HUB_SKIP))
    except GatedRepoError:
        raise ModelError(f"{name}: its owner asks for a licence first; accept it on the hub and log in") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(f"unknown model '{name}': not a directory, and the hub has no such model") from None
    except LocalEntryNotFoundError:
        raise ModelError(f"{name}: not downloaded yet, and the hub cannot be reached from here") from None
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"{name}: cannot be fetched from the hub ({first_line(error)})") from None


def _check_files(name: str, directory: Path) -> None:
    try:
        read_json(directory / "config.json")
    except DataError as error:
        raise ModelError(f"{name}: no usable model config ({error})") from None
    if not any(directory.glob("*.safetensors")):
        pickled = any(directory.glob("*.bin")) or any(directory.glob("*.pt*"))
        raise ModelError(
            f"{name}: only pickled weights, which are never read: convert them to safetensors"
            if pickled
            else f"{name}: no *.safetensors in {directory}"
        )


def _load_tokenizer(name: str, directory: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizer files break in as many ways as there are readers
        raise ModelError(f"{name}: its tokenizer cannot be loaded ({first_line(error)})") from None
    _cut_as_filed(tokenizer, directory)
    return tokenizer


def _cut_as_filed(tokenizer: Any, directory: Path) -> None:
    """Cut texts as ``tokenizer.json`` says, also where the tokenizer's class has a way of its own.

    transformers 5.23 reads only vocabulary and merges for classes that it knows: a model that names GPT2Tokenizer and
    was trained on single digits would be given numbers (findings/tokenizer_class_wins.sh).
    """
    backend, path = getattr(tokenizer, "backend_tokenizer", None), directory / "tokenizer.json"
    if backend is None or type(tokenizer) is PreTrainedTokenizerFast or not path.exists():  # which reads it whole
        return
    filed = Tokenizer.from_file(str(path))
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        own = getattr(filed, part)
        if own is not None and repr(own) != repr(getattr(backend, part)):
            setattr(backend, part, own)


def _load_weights(name: str, directory: Path, dtype: str) -> PreTrainedModel:
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # a broken config or file can fail anywhere in transformers
        raise ModelError(f"{name}: cannot be loaded as a causal language model ({first_line(error)})") from None
    hf, report = loaded
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(f"{name}: incomplete checkpoint, {len(missing)} tensors are missing (first: {missing[0]})")
    others = set(getattr(hf.config.get_text_config(), "layer_types", None) or ()) - ATTENDING
    if others:
        raise ModelError(f"{name}: layers of the kind {min(others)} are not supported, only attention is")
    model: PreTrainedModel = hf
    return model
