"""Every family that AutoModelForCausalLM knows, as a tiny random model: is it written to, or refused in one line?

python benchmarks/families.py [FAMILY ...]

Layers, widths and vocabulary are made small where the family's configuration has names for them that are known here;
what stays large, or cannot be made of these numbers, is named and left out.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
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
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 16}
LOCAL = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 64, "head_dim": 8}
LOCAL |= {"num_hidden_layers": 2, "hidden_size_global": 32}
SOUND = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
OWN: dict[str, dict[str, Any]] = {  # what the names above do not make small, or whole
    "bamba": MAMBA,
    "blt": {
        **{f"{part}_config": LOCAL for part in ("patcher", "encoder", "decoder", "global")},
        "encoder_hash_byte_group_vocab": 64,
    },
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 64},
    },
    "dots3_note": {
        "vision_config": TOWER | {"num_hidden_layers": 42, "adapter_in_dim": 32, "adapter_out_dim": 32},
        "audio_config": SOUND | {"num_key_value_heads": 4, "adapter_input_size": 32, "adapter_out_dim": 32},
    },
    "dots3_note_text": {
        **{"swa_num_attention_heads": 4, "swa_num_key_value_heads": 4, "swa_q_lora_rank": 16, "swa_kv_lora_rank": 16},
        **{"swa_head_dim": 16, "swa_qk_nope_head_dim": 8, "swa_v_head_dim": 8, "head_dim": 16},
        **{"index_n_heads": 4, "index_head_dim": 16, "index_topk": 8, "shared_experts_intermediate_size": 16},
    },
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4},
    "falcon_h1": MAMBA | {"mamba_d_ssm": 64},
    "git": {"vision_config": TOWER | {"image_size": 32}},
    "gpt_neo": {"attention_types": [[["global", "local"], 3]], "num_heads": 4},
    "granitemoehybrid": MAMBA,
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 3},
    "longcat_flash": {
        **{"ffn_hidden_size": 64, "expert_ffn_hidden_size": 16},
        **{"zero_expert_num": 2, "moe_topk": 2, "head_dim": 8},
    },
    "mamba2": {"num_heads": 8, "head_dim": 8, "state_size": 16, "n_groups": 1},
    "moss_transcribe_diarize": {"audio_config": SOUND},
    "phi4_multimodal": {
        "vision_config": TOWER | {"image_size": 32, "crop_size": 32},
        "audio_config": {
            **{"hidden_size": 32, "intermediate_size": 32, "num_blocks": 1, "num_attention_heads": 4},
            **{"ext_pw_out_channel": 32, "depthwise_separable_out_channel": 32, "nemo_conv_channels": 32},
        },
    },
    "qwen4_exp_text": {
        **{"indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 16},
        **{"indexer_compress_ratio": 4, "hc_lowrank": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4},
    },
    "recurrent_gemma": {"lru_width": 32},
    "reformer": {
        **{"is_decoder": True, "attention_head_size": 8, "feed_forward_size": 64},
        **{"axial_pos_shape": [16, 32], "axial_pos_embds_dim": [16, 16]},
    },
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}
# What transformers itself makes no model of, or not here: the configuration alone has to be refused in one line.
UNMADE = ("gemma3n", "gemma4_assistant", "gemma4_unified_assistant", "musicgen", "musicgen_melody")
TEMPLATE = "{% for m in messages %}{{ m.role + ': ' + m.content + '</s>' }}{% endfor %}"


def small(kind: Any) -> Any:
    """A configuration of this class with few and narrow layers, of every kind that it has."""
    plain = kind()
    numbers = {name: value for name, value in SMALL.items() if name in plain.to_dict()}
    if "kv_lora_rank" in plain.to_dict():  # heads of two parts, which have widths of their own
        numbers |= {"num_key_value_heads": 4}
        numbers.pop("head_dim", None)
    if (
        getattr(plain, "layer_types", None)
        and not hasattr(kind, "layers_block_type")
        and not isinstance(getattr(kind, "layer_types", None), property)
    ):
        numbers["layer_types"] = (list(dict.fromkeys(plain.layer_types)) * 6)[:6]
    inner = getattr(plain, "text_config", None)
    if hasattr(inner, "hidden_size"):
        numbers = {"text_config": small(type(inner)).to_dict()}
        if hasattr(getattr(plain, "vision_config", None), "to_dict"):
            numbers["vision_config"] = plain.vision_config.to_dict() | TOWER
    return kind(**numbers | OWN.get(kind.model_type, {}))


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
    except Exception as error:
        if family not in UNMADE:
            return "not tried", f"{type(error).__name__}: {' '.join(str(error).split()):.80}"
        (folder / "config.json").write_text(json.dumps({"model_type": family}))
        save_file({"weight": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
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
