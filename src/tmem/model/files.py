"""From a model's name to its files, its tokenizer and its weights.

Whatever is missing or broken raises :class:`ModelError` in one line.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
from tmem.errors import DataError, ModelError, first_line
from tmem.files import read_json
from tmem.model import gguf

# Kinds of layers whose past is keys and values. Others keep a state, which cannot be cut, shared or taken up again.
ATTENDING = {"full_attention", "sliding_attention", "chunked_attention"}

# What is fetched from the hub. Mistral's repositories hold a second copy of the weights under another name; of the
# weights that lie in folders a reader's are wanted.
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_HUB_SKIP = ["consolidated*", "original/*", "[!r]*/*.safetensors"]


def find(name: str, notice: Callable[[str], None]) -> Path:
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


def check(name: str, directory: Path) -> None:
    """Look whether a directory has a config and weights that are not pickled."""
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


def read_tokenizer(name: str, directory: Path) -> PreTrainedTokenizerBase:
    """The tokenizer, which cuts texts as its file says."""
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


def read_weights(name: str, directory: Path, dtype: str) -> PreTrainedModel:
    """The model with all of its weights, if its layers are of a kind that is supported."""
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
