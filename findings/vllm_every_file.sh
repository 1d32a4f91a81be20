#!/usr/bin/env bash
# vLLM reads every file of tensors in a model's folder, and of two with the same names the last by alphabet, without a word.
#
# vllm-cpu 0.32.0, transformers 5.19.0, safetensors 0.8.0, torch 2.13.0. Expected: a folder is the model that transformers loads from it, that
# of model.safetensors, whatever else lies there. Seen: the weights of another file beside it, such as older ones kept as
# older.safetensors, are served in the place of the model's; kept as earlier.safetensors they are not. A file with tensors of other names
# makes it a ValueError. With a model.safetensors.index.json, which one file alone does not need, only what that lists is read.
#
# Takes 3.5 GB and some minutes (runs/vllm_cpu.sh).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$here/../runs/vllm_cpu.sh" "$folder/env" > /dev/null
"$folder/env/bin/pip" install -q --disable-pip-version-check --no-deps transformers==5.19.0 safetensors==0.8.0
cd "$folder"
export HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 VLLM_LOGGING_LEVEL=ERROR VLLM_NO_USAGE_STATS=1
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from vllm import LLM, SamplingParams

PROMPT = [5, 9, 11, 2, 7]
SIZES = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 64}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
shape = LlamaConfig(**SIZES, **HEADS, initializer_range=0.3, bos_token_id=None, eos_token_id=None)
torch.manual_seed(0)
for name in ("one", "other"):
    LlamaForCausalLM(shape).save_pretrained(name)


def by_transformers(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    return model.generate(torch.tensor([PROMPT]), max_new_tokens=8, do_sample=False)[0, len(PROMPT) :].tolist()


def by_vllm(folder):
    greedy = SamplingParams(temperature=0, max_tokens=8, detokenize=False)
    try:
        model = LLM(folder, skip_tokenizer_init=True, dtype="float32", max_model_len=64, enforce_eager=True)
    except ValueError as error:
        return str(error).partition(".")[0]
    return list(model.generate([{"prompt_token_ids": PROMPT}], greedy, use_tqdm=False)[0].outputs[0].token_ids)


def both(folder):
    found = by_transformers(folder), by_vllm(folder)
    print(f"{sorted(path.name for path in Path(folder).glob('*safetensors*'))}: transformers {found[0]}, vLLM {found[1]}", flush=True)
    return found


one, other = both("one"), both("other")
assert one[0] == one[1] != other[0] == other[1]
for name, tensors in (
    ("older", load_file("other/model.safetensors")),
    ("earlier", load_file("other/model.safetensors")),
    ("extra", {"a": torch.ones(2, 2)}),
):
    shutil.copytree("one", name)
    save_file(tensors, f"{name}/{name}.safetensors", metadata={"format": "pt"})
    seen = both(name)
    told = {"older": other[1], "earlier": one[1], "extra": "There is no module or parameter named 'a' in LlamaForCausalLM"}
    assert seen == (one[0], told[name])
    listed = dict.fromkeys(load_file(f"{name}/model.safetensors"), "model.safetensors")
    Path(name, "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    assert both(name) == one
PYTHON
