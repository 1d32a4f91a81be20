"""A valid GGUF file of a model of one layer, for the scripts beside it."""

from __future__ import annotations

from collections.abc import Collection

import gguf
import numpy as np

WIDTH, FFN, HEADS, TOKENS = 64, 128, 4, 300


def write(path: str, architecture: str = "llama", head: int = 16, left_out: Collection[str] = ()) -> None:
    """Random weights; 258 tokens, of which ½ and 1½ are two; numbers are to be cut as SmolLM's vocabulary asks."""
    file = gguf.GGUFWriter(path, architecture)
    file.add_context_length(128)
    file.add_embedding_length(WIDTH)
    file.add_block_count(1)
    file.add_feed_forward_length(FFN)
    file.add_head_count(HEADS)
    file.add_head_count_kv(HEADS)
    file.add_key_length(head)
    file.add_value_length(head)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_freq_base(10000.0)
    file.add_vocab_size(TOKENS)
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    letter = {byte: chr(byte) for byte in plain} | {byte: chr(256 + place) for place, byte in enumerate(rest)}
    half = letter[0xC2] + letter[0xBD]
    tokens = [*(letter[byte] for byte in range(256)), half, "1" + half]
    tokens += [f"[PAD{number}]" for number in range(len(tokens), TOKENS)]
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("smollm")
    file.add_token_list(tokens)
    file.add_token_types([1] * TOKENS)
    file.add_token_merges([f"{letter[0xC2]} {letter[0xBD]}", f"1 {half}"])
    file.add_eos_token_id(TOKENS - 1)
    inner = head * HEADS
    shapes = {"token_embd": (TOKENS, WIDTH), "output_norm": (WIDTH,), "output": (TOKENS, WIDTH)}
    parts = {"attn_norm": (WIDTH,), "ffn_norm": (WIDTH,), "attn_output": (WIDTH, inner), "ffn_down": (WIDTH, FFN)}
    parts |= {f"attn_{name}": (inner, WIDTH) for name in "qkv"} | {
        f"ffn_{name}": (FFN, WIDTH) for name in ("gate", "up")
    }
    if architecture == "qwen3":
        parts |= {"attn_q_norm": (head,), "attn_k_norm": (head,)}
    shapes |= {f"blk.0.{name}": shape for name, shape in parts.items()}
    draw = np.random.default_rng(0)
    for name, shape in shapes.items():
        if name not in left_out:
            file.add_tensor(f"{name}.weight", draw.normal(0, 0.05, shape).astype(np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
