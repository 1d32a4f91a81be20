"""Models and memories as GGUF files, for llama.cpp: the base, and a LoRA of each memory.

llama.cpp reads what it finds: a LoRA without ``alpha`` counts in full, one with numbers that are not finite answers
nonsense, and neither is said. So what is written here is looked at first.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from tmem.errors import DataError, ModelError, UsageError
from tmem.files import check_folder, on_disk
from tmem.model.adapter import Matrices

if TYPE_CHECKING:
    from tmem.fastweights import Delta
    from tmem.model.load import Model

Type = Literal["f32", "f16", "bf16", "q8_0"]
ARCHITECTURES = {"llama": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"}
BASE, WEIGHTS = "tmem.base", "tmem.type"  # what our files say of themselves: digest of theta_0, and its type
# How texts are cut before bytes are joined to tokens, by the names that llama.cpp has for it.
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CUTS = {_WORDS % r"\p{N}{1,3}": "llama-bpe", _WORDS % r"\p{N}": "qwen2"}


def type_named(name: str) -> Type:
    """A type of a base's weights. Raises :class:`UsageError` for a name that is none."""
    for kind in get_args(Type):
        if name == kind:
            return kind
    raise UsageError(f"there is no type {name!r} of a base: choose {', '.join(get_args(Type))}")


def adapter_name(model: Model, delta: Delta, scope: str = "") -> str:
    """``tmem-<scope>-<digest>`` of a memory, (1, out, rank): no other memory, version or base has this name."""
    told = f"{model.weights_hash} {delta.basis_digest} {delta.digest(0)}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    return "-".join(["tmem", *([scope] if scope else []), digest])


def base_name(model: Model, kind: Type, more: str = "") -> str:
    """What a base's file is called: another model has another name."""
    return f"{Path(model.name).name.removesuffix('.gguf')}-{model.weights_hash[:12]}-{kind}{more}.gguf"


def architecture(model: Model) -> str:
    """What llama.cpp calls the model's architecture. Raises :class:`ModelError` for one that cannot be written."""
    config: Any = model.hf.config
    kind, rope = config.model_type, getattr(config, "rope_parameters", None) or {}
    problem = None
    if kind not in ARCHITECTURES:
        problem = f"an architecture of the kind {kind}"
    elif rope.get("rope_type", "default") not in ("default", "llama3"):
        problem = f"positions that are scaled by {rope['rope_type']}"
    elif getattr(config, "use_sliding_window", False):
        problem = "a sliding window"
    elif kind == "qwen3" and config.attention_bias:
        problem = "an attention with biases"
    elif getattr(config, "hidden_act", "silu") != "silu":
        problem = f"the activation {config.hidden_act}"
    if problem:
        raise ModelError(
            f"{model.name}: {problem} cannot be written as GGUF: Llama, Qwen2, Qwen3 can; use llama.cpp's converter"
        )
    return str(kind)


def cut_name(tokenizer: Any) -> str | None:
    """llama.cpp's name for how a byte-level tokenizer cuts texts; None if it has none for that."""
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = whole["pre_tokenizer"] or {}
    parts = parts.get("pretokenizers", [parts])
    normalizer = whole["normalizer"] or {}
    if normalizer.get("type", "NFC") != "NFC" or not parts or parts[-1].get("add_prefix_space"):
        return None
    *before, last = parts
    if last.get("type") != "ByteLevel":
        return None
    if not before:
        return "gpt-2" if last.get("use_regex", True) else None
    if len(before) > 1:
        return None
    [first] = before
    pattern = first.get("pattern", {}).get("Regex")
    digits = first.get("type") == "Digits" and first.get("individual_digits")
    if last.get("use_regex", True):
        return "smollm" if digits or pattern == r"\p{N}" else None
    return CUTS.get(pattern)


def save_base(path: Path, model: Model, kind: Type = "f32", notice: Callable[[str], None] = lambda text: None) -> None:
    """Write a model as a GGUF file of its own type, tokenizer and chat template included.

    Raises :class:`ModelError` for an architecture, tokenizer or weights that cannot be written so, and
    :class:`DataError` where the file cannot be; a file that is there stays as it is.
    """
    gguf, kind_of = _gguf(), architecture(model)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[ARCHITECTURES[kind_of]], model.hf.config.num_hidden_layers)
    tensors = list(_tensors(model, names, gguf.GGMLQuantizationType[kind.upper()]))
    with _written(path, kind_of) as writer:
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_name(Path(model.name).name)
        writer.add_file_type(gguf.LlamaFileType[{"f32": "ALL_F32"}.get(kind, f"MOSTLY_{kind.upper()}")])
        writer.add_string(BASE, model.weights_hash)
        writer.add_string(WEIGHTS, kind)
        _add_shape(writer, model)
        _add_tokenizer(writer, model, notice)
        for tensor in tensors:
            like = tensor.made_of(torch.zeros(0, tensor.value.shape[-1]))
            shape = (*tensor.value.shape[:-1], like.shape[-1])  # of a quantised row, its bytes
            size = math.prod(shape) * like.itemsize
            raw = tensor.kind if like.dtype == "uint8" else None
            writer.add_tensor_info(tensor.name, shape, like.dtype, size, raw)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in tensors:
            writer.write_tensor_data(tensor.made(model.name))


def save_lora(path: Path, model: Model, matrices: Matrices) -> None:
    """Write a change B A of a model's linear layers, all of one rank, as a LoRA in full force.

    Raises as :func:`save_base`.
    """
    gguf, kind = _gguf(), architecture(model)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[ARCHITECTURES[kind]], model.hf.config.num_hidden_layers)
    [rank] = {len(a) for a, _ in matrices.values()}  # one number stands for all
    with _written(path, kind) as writer:
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(rank))  # llama.cpp multiplies by alpha / rank
        writer.add_string(BASE, model.weights_hash)
        writer.add_string(WEIGHTS, model.dtype)
        for layer, (a, b) in matrices.items():
            name = names.get_name(layer)
            if name is None:
                raise ModelError(f"{model.name}: llama.cpp has no name for the layer {layer}")
            b = _rotated(model, layer, b)
            if not (a.isfinite().all() and b.isfinite().all()):
                raise DataError(f"{path}: {layer} has numbers that are not finite: this memory is damaged")
            for end, value in (("a", a), ("b", b)):
                writer.add_tensor(f"{name}.weight.lora_{end}", value.detach().cpu().float().contiguous().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


@dataclass(frozen=True)
class _Tensor:
    """A tensor to be written: made when its turn comes, so that a large model is never held twice."""

    name: str
    value: Tensor
    kind: Any

    def made(self, model: str) -> Any:
        plain = self.value.detach().cpu().float().contiguous()
        # float16 ends at 65,504, and what is larger would be infinite.
        if not (plain.half() if self.kind.name == "F16" else plain).isfinite().all():
            raise ModelError(f"{model}: {self.name} has numbers that {self.kind.name} cannot hold: write f32 or bf16")
        return self.made_of(plain)

    def made_of(self, plain: Tensor) -> Any:
        """A tensor as numpy holds it in the file."""
        from gguf import quants

        return quants.quantize(plain.numpy(), self.kind)


def _tensors(model: Model, names: Any, kind: Any) -> Iterator[_Tensor]:
    from gguf import GGMLQuantizationType

    full, blocks = GGMLQuantizationType.F32, 32  # numbers that q8_0 holds together
    for key, value in model.hf.named_parameters():
        part, _, end = key.rpartition(".")
        name = names.get_name(part)
        if name is None:
            raise ModelError(f"{model.name}: llama.cpp has no name for {key}")
        if value.dim() < 2:
            own = full
        else:
            own = kind if kind.name != "Q8_0" or value.shape[-1] % blocks == 0 else GGMLQuantizationType.F16
        yield _Tensor(f"{name}.{end}", _rotated(model, part, value), own)
    rope = getattr(model.hf.config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "llama3":
        rotary: Any = model.hf.get_decoder().rotary_emb
        width = 2 * len(rotary.inv_freq)
        plain = rope["rope_theta"] ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        yield _Tensor("rope_freqs.weight", (plain / rotary.inv_freq.double().cpu()).float(), full)


def _rotated(model: Model, layer: str, value: Tensor) -> Tensor:
    """Rows of a Llama's queries and keys as llama.cpp wants them: the two halves of a rotation beside each other."""
    config: Any = model.hf.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(layer.rpartition(".")[2])
    if config.model_type != "llama" or heads is None:
        return value
    return value.reshape(heads, 2, -1, *value.shape[1:]).transpose(1, 2).reshape(value.shape)


def _add_shape(writer: Any, model: Model) -> None:
    config: Any = model.hf.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = config.rope_parameters
    writer.add_context_length(model.window)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _add_tokenizer(writer: Any, model: Model, notice: Callable[[str], None]) -> None:
    """The tokens, how they are joined, and how texts are cut first, where llama.cpp has a name for that."""
    from gguf import TokenType

    tokenizer: Any = model.tokenizer
    whole = json.loads(tokenizer.backend_tokenizer.to_str()) if hasattr(tokenizer, "backend_tokenizer") else {}
    if whole.get("model", {}).get("type") != "BPE" or '"ByteLevel"' not in json.dumps(whole["decoder"]):
        raise ModelError(f"{model.name}: only byte-level BPE tokenizers can be written: use llama.cpp's converter")
    added, known = tokenizer.added_tokens_decoder, {number: token for token, number in tokenizer.get_vocab().items()}
    rows = range(model.hf.get_input_embeddings().weight.shape[0])
    plain, special = TokenType.USER_DEFINED, TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    if name := cut_name(tokenizer):
        writer.add_tokenizer_pre(name)
    else:
        notice(f"llama.cpp does not know how {model.name} cuts texts: give it token ids, as tmem does, and no text")
    writer.add_token_list([known.get(number, f"[PAD{number}]") for number in rows])
    writer.add_token_types(
        [
            (special if added[number].special else plain)
            if number in added
            else TokenType.NORMAL
            if number in known
            else TokenType.UNUSED
            for number in rows
        ]
    )
    merges = whole["model"]["merges"]
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])
    bos, begun = tokenizer.bos_token_id, tokenizer("a")["input_ids"]
    if bos is not None:
        writer.add_bos_token_id(bos)
    writer.add_add_bos_token(bos is not None and begun[:1] == [bos])
    if model.chat.end_of_turn is not None:
        writer.add_eos_token_id(model.chat.end_of_turn)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


@contextmanager
def _written(path: Path, kind: str) -> Iterator[Any]:
    """A writer of a file that is there when it is whole; one that has the name already stays.

    Raises :class:`DataError`.
    """
    check_folder(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    writer = _gguf().GGUFWriter(beside, kind)
    try:
        try:
            yield writer
        finally:
            writer.close()
        on_disk(beside)
        try:
            os.link(beside, path)
        except FileExistsError:
            raise DataError(f"{path}: is there already, and nothing is overwritten: give another name") from None
        on_disk(path.parent)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        beside.unlink(missing_ok=True)


def _gguf() -> Any:
    try:
        import gguf
    except ImportError:
        raise UsageError("writing GGUF needs the extra gguf: pip install 'tmem[gguf]'") from None
    return gguf
