#!/usr/bin/env bash
# A model with "longrope" says something else of a text when a longer one is in the batch.
#
# transformers 5.23.0, torch 2.13.0. Expected: what a row gets does not depend on the others, with padding, mask and position_ids right.
# Seen: the factors, short or long, are chosen by the largest position of the whole batch; beside a row beyond
# original_max_position_embeddings all rows have the long ones, and a row that is read on has keys of both. Padding alone, or a neighbour
# that is not so long, changes nothing. Phi 3, 3.5 and 4 mini with 128k tokens change so at 4096.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 transformers==5.23.0
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import torch
import transformers
from transformers import Phi3Config, Phi3ForCausalLM

print(f"transformers {transformers.__version__}, torch {torch.__version__.partition('+')[0]}")
torch.manual_seed(0)
size = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
factors = {"short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [1.0, 4.0, 16.0, 64.0]}  # half of a head's 8 dimensions
config = Phi3Config(
    **size,
    pad_token_id=0,
    initializer_range=0.2,
    original_max_position_embeddings=64,
    max_position_embeddings=256,
    rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "factor": 4.0, **factors},
)
model = Phi3ForCausalLM(config).eval()
text, shorter, longer = (torch.randint(1, 128, (length,)) for length in (20, 60, 100))


@torch.no_grad()
def read(*rows):
    """The log-probability of the first row's tokens after its first, beside the others."""
    width = max(map(len, rows))
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    ids = torch.stack([torch.cat([torch.zeros(width - len(row), dtype=torch.long), row]) for row in rows])
    logits = model(ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp_min(0), use_cache=False).logits
    said = logits[0, -len(rows[0]) :].log_softmax(-1)
    return float(said[:-1].gather(1, rows[0][1:, None]).sum())


@torch.no_grad()
def apart(start):
    """The largest change of a token's log-probability beyond the switch if a row's tokens from ``start`` are read one by one."""
    whole = model(longer[None], use_cache=False).logits[0].log_softmax(-1)
    past, most = model(longer[None, :start], use_cache=True), 0.0
    for place in range(start, len(longer)):
        token = longer[place]
        if place > 64:  # told by a position that has the long factors either way
            most = max(most, float((past.logits[0, -1].log_softmax(-1) - whole[place - 1])[token].abs()))
        past = model(token[None, None], past_key_values=past.past_key_values, use_cache=True)
    return most


alone = read(text)
for title, found in (("60", read(text, shorter)), ("100", read(text, longer))):
    print(f"20 tokens alone {alone:.3f}, beside {title} tokens {found:.3f}")
assert abs(read(text, shorter) - alone) < 1e-3
assert abs(read(text, longer) - alone) > 1
for start in (50, 70):
    found = apart(start)
    print(f"100 tokens, from {start} on read one by one: beyond 64 up to {found:.3f} apart from all at once")
    assert found > 1 if start < 64 else found < 1e-3
PYTHON
