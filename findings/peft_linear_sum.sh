#!/usr/bin/env bash
# The "linear" combination of two LoRA adapters is not the weighted sum of what they do to the weights.
#
# peft 0.21.2, torch 2.13.0, transformers 5.23.0. Expected: add_weighted_adapter(names, [w, v], name, combination_type="linear") gives w
# times the one change plus v times the other. Seen: A and B are summed each for itself, each with the root of its weight, so the product
# has two cross terms. Of adapters with one A, as those that train B alone are, the average is twice as strong as it should be, and the
# difference is exactly nothing. "cat" is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 transformers==5.23.0 peft==0.21.2 accelerate==1.15.0
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
size = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
settings = LoraConfig(r=4, lora_alpha=4, target_modules=["up_proj"], init_lora_weights=False)
model = get_peft_model(LlamaForCausalLM(LlamaConfig(**size, num_attention_heads=4)), settings, adapter_name="a")
model.add_adapter("b", settings)
layer = model.base_model.model.model.layers[0].mlp.up_proj
change = layer.get_delta_weight


@torch.no_grad()
def compare(title, weights, kind):
    name = f"mix{len(model.peft_config)}"  # a name in use is kept as it is, without an error
    model.add_weighted_adapter(["a", "b"], weights, name, combination_type=kind)
    right, found = weights[0] * change("a") + weights[1] * change("b"), change(name)
    wrong, strength = float((found - right).norm() / right.norm()), float((found * right).sum() / (right * right).sum())
    print(f"{title}, {weights}, {kind}: off by {wrong:.2f} of its length, strength {strength:.2f}")
    return round(wrong, 3), round(strength, 3)


assert compare("two adapters", [0.5, 0.5], "linear")[0] > 0.5
assert compare("two adapters", [0.5, 0.5], "cat") == (0, 1)
layer.lora_A["b"].weight.data.copy_(layer.lora_A["a"].weight.data)
assert compare("one A", [0.5, 0.5], "linear") == (1, 2)
assert compare("one A", [1.0, -1.0], "linear") == (1, 0)
assert compare("one A", [0.5, 0.5], "cat") == (0, 1)
PYTHON
