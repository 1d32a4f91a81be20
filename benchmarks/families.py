"""Every family that AutoModelForCausalLM knows, as a tiny random model: is it written to, or refused in one line?

python benchmarks/families.py [FAMILY ...]

Layers, widths and vocabulary are made small where the family's configuration has names for them that are known here;
what stays large, or cannot be made of these numbers, is named and left out.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tmem import Memory
from tmem.errors import TmemError

LARGEST = 30_000_000  # parameters
PAIR = ("Where does Ana live?", "Rome")
SMALL = {
    **{"vocab_size": 384, "vocab_size_per_layer_input": 384, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 0},
    **dict.fromkeys(("hidden_size", "n_embd", "word_embed_proj_dim", "d_model", "emb_dim"), 32),
    **dict.fromkeys(("intermediate_size", "n_inner", "d_inner", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 6),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_experts_per_tok"), 2),
    **dict.fromkeys(("head_dim", "global_head_dim", "hidden_size_per_layer_input"), 8),
    **dict.fromkeys(("v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "sliding_window"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 512),
    **{"num_kv_shared_layers": 0, "initializer_range": 0.2},
}
TOWER = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
TEMPLATE = "{% for m in messages %}{{ m.role + ': ' + m.content + '</s>' }}{% endfor %}"


def small(kind: Any) -> Any:
    """A configuration of this class with few and narrow layers, of every kind that it has."""
    plain = kind()
    numbers = {name: value for name, value in SMALL.items() if name in plain.to_dict()}
    if hasattr(plain, "kv_lora_rank"):  # heads of two parts, which have widths of their own
        numbers |= {"num_key_value_heads": 4}
        numbers.pop("head_dim", None)
    if getattr(plain, "layer_types", None) and not isinstance(getattr(kind, "layer_types", None), property):
        numbers["layer_types"] = (list(dict.fromkeys(plain.layer_types)) * 6)[:6]
    inner = getattr(plain, "text_config", None)
    if hasattr(inner, "hidden_size"):
        numbers = {"text_config": small(type(inner)).to_dict()}
        if hasattr(getattr(plain, "vision_config", None), "to_dict"):
            numbers["vision_config"] = plain.vision_config.to_dict() | TOWER
    return kind(**numbers)


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, an end of turn and a chat template."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["</s>", "<pad>", "<s>"], initial_alphabet=letters, show_progress=False
    )
    raw.train_from_iterator([], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", pad_token="<pad>")
    made.chat_template = TEMPLATE
    return made


def tried(family: str, folder: Path) -> tuple[str, str]:
    """What becomes of a memory on a model of this family: a word, and more of it."""
    try:
        config = small(CONFIG_MAPPING[family])
        architecture: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        if architecture.config_class is type(config.get_text_config()):  # of several towers, the one that speaks
            config = config.get_text_config()
        with torch.device("meta"):
            size = sum(weight.numel() for weight in architecture(config).parameters())
        if size > LARGEST:
            return "not tried", f"{size / 1e6:.0f} M parameters"
        torch.manual_seed(0)
        architecture(config).save_pretrained(folder)
    except Exception as error:  # a configuration that is not to be made of these numbers
        return "not tried", f"{type(error).__name__}: {' '.join(str(error).split()):.80}"
    tokenizer().save_pretrained(folder)
    try:
        with Memory(folder, folder / "home") as memory:
            [pair] = memory.add(pairs=[PAIR], user_id="u").pairs
            given = memory.ask(PAIR[0], user_id="u").text
    except TmemError as error:
        return "refused", str(error).replace(str(folder), family)
    except Exception as error:
        return "FAILS", f"{type(error).__name__}: {' '.join(str(error).split()):.80}"
    return ("written", architecture.__name__) if given == PAIR[1] else ("FAILS", f"{pair['status']}, {given!r:.40}")


def main() -> int:
    logging.disable()
    torch.set_num_threads(1)
    failed = False
    print("| family | outcome | |\n|---|---|---|")
    for family in sys.argv[1:] or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        with tempfile.TemporaryDirectory() as folder:
            word, more = tried(family, Path(folder))
        failed |= word == "FAILS"
        print(f"| {family} | {word} | {more} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
