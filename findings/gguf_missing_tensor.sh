#!/usr/bin/env bash
# A GGUF file that lacks a tensor loads without an error, and the tensor is random, another one in every load.
#
# transformers 5.23.0, gguf 0.19.0. Expected: an error that names the tensor, as for a damaged safetensors checkpoint of
# which the caller is told by `missing_keys` alone. Seen: from_pretrained(gguf_file=...) returns a model; two loads of one file
# differ. The same goes for tensors under names that its table does not have. A report is printed; only
# output_loading_info=True tells a program.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0
cd "$folder"
PYTHONPATH="$here" "$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
from tiny_gguf import write
from transformers import AutoModelForCausalLM

write("whole.gguf")
write("less.gguf", left_out=["blk.0.ffn_up"])


def load(name):
    model, report = AutoModelForCausalLM.from_pretrained(".", gguf_file=name, output_loading_info=True)
    return float(model.model.layers[0].mlp.up_proj.weight.detach().sum()), sorted(report["missing_keys"])


whole, one, other = [load("whole.gguf"), load("whole.gguf")], load("less.gguf"), load("less.gguf")
print("whole, twice:", whole)
print("without blk.0.ffn_up, twice:", one, other)
assert whole[0] == whole[1] and not whole[0][1]
assert one[1] == other[1] == ["model.layers.0.mlp.up_proj.weight"] and one[0] != other[0]
PYTHON
