#!/usr/bin/env bash
# A copy of one adapter, made by add_weighted_adapter with weight 1, is not that adapter: with rsLoRA it is stronger, of DoRA and of biases parts are lost.
#
# peft 0.21.2, torch 2.13.0, transformers 5.23.0. Expected: add_weighted_adapter(["a"], [1.0], "copy") answers as "a" does, or what cannot
# be combined is refused, as modules_to_save are. Seen: of an rsLoRA adapter the new one is scaled by the root of its rank once more ("cat",
# "linear" and "svd" alike: of rank 4 twice as strong); of DoRA the magnitudes are those of a fresh adapter, of lora_bias the biases. Of
# plain LoRA the copy is exact. Nothing is raised.
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

SIZE = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
TOKENS = torch.arange(12)[None]


@torch.no_grad()
def copied(rank, kind, **options):
    """How far the copy's answers and the base's are from the adapter's, and how strong the copy's change of the weights is."""
    torch.manual_seed(0)
    settings = LoraConfig(r=rank, lora_alpha=rank, target_modules=["up_proj"], init_lora_weights=False, **options)
    model = get_peft_model(LlamaForCausalLM(LlamaConfig(**SIZE)), settings, adapter_name="a").eval()
    layer = model.base_model.model.model.layers[0].mlp.up_proj
    if options.get("lora_bias"):
        layer.lora_B["a"].bias.normal_()
    if options.get("use_dora"):
        layer.lora_magnitude_vector["a"].weight.mul_(1.5)  # as training does
    model.add_weighted_adapter(["a"], [1.0], "copy", combination_type=kind)
    with model.disable_adapter():
        base = model(TOKENS).logits
    answers = {}
    for name in ("a", "copy"):
        model.set_adapter(name)
        answers[name] = model(TOKENS).logits
    off, effect = (float((other - answers["a"]).abs().max()) for other in (answers["copy"], base))
    own, made = layer.get_delta_weight("a"), layer.get_delta_weight("copy")
    strength = round(float((made * own).sum() / (own * own).sum()), 3)
    print(f"rank {rank}, {kind}, {options}: strength {strength}, answers off by {off / effect:.2f} of the adapter's effect")
    return strength, off / effect


for kind in ("cat", "linear", "svd"):
    strength, off = copied(4, kind)
    assert strength == 1 and off < 1e-3
    assert copied(4, kind, use_rslora=True)[0] == 2 and copied(16, kind, use_rslora=True)[0] == 4
    assert copied(4, kind, use_dora=True)[1] > 0.2
    assert copied(4, kind, lora_bias=True)[1] > 0.2
PYTHON
