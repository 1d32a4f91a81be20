#!/usr/bin/env bash
# A mask of who sees whom that is given to a model is not what its layers see.
#
# transformers 5.23.0, torch 2.13.0. Expected: a boolean mask of shape (1, 1, T, T), True where seen, means the same whatever computes
# attention, and a layer with a window still sees no farther than that. Seen: attention "eager" adds it to the scores as 1 and 0, so that
# nothing at all is hidden and later tokens are read; and such a mask takes the window away, under "sdpa" and "eager" alike. Neither says
# anything. As numbers, 0 and the lowest, it is the same under both, windows excepted.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

torch.manual_seed(0)
size = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
ids = torch.randint(0, 64, (1, 12))
later = ids.clone()
later[0, -1] = (later[0, -1] + 1) % 64  # another last token, which none before it should notice
seen = torch.ones(1, 1, 12, 12, dtype=torch.bool).tril()
numbers = torch.zeros(1, 1, 12, 12).masked_fill(~seen, torch.finfo(torch.float32).min)


@torch.no_grad()
def logits(model, mask, tokens=ids):
    return model(tokens, attention_mask=mask, use_cache=False).logits[0, :-1]


def apart(title, one, other):
    same = bool(torch.allclose(one, other, atol=1e-5))
    print(f"{title}: {'the same' if same else 'not the same'}")
    return not same


whole = LlamaForCausalLM(LlamaConfig(**size)).eval()
windowed = MistralForCausalLM(MistralConfig(**size, num_key_value_heads=4, sliding_window=4)).eval()
for kind in ("sdpa", "eager"):
    whole.set_attn_implementation(kind)
    windowed.set_attn_implementation(kind)
    own = logits(whole, None)
    assert not apart(f"{kind}, a mask of numbers, and the model's own", logits(whole, numbers), own)
    assert apart(f"{kind}, a boolean mask, and the model's own", logits(whole, seen), own) == (kind == "eager")
    read = apart(f"{kind}, a boolean mask, another last token", logits(whole, seen), logits(whole, seen, later))
    assert read == (kind == "eager")
    assert apart(f"{kind}, a window of 4, a mask of numbers, and its own", logits(windowed, numbers), logits(windowed, None))
PYTHON
