#!/usr/bin/env bash
# What was read from a GGUF file is dequantised, and cannot be saved.
#
# transformers 5.23.0, gguf 0.19.0. Expected: save_pretrained writes the float32 weights that the model has. Seen: ValueError, it calls itself
# quantised; taking quantization_config away is not enough, the weights have to stand in a new model.
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

write("tiny.gguf")
model = AutoModelForCausalLM.from_pretrained(".", gguf_file="tiny.gguf")
print("weights are", model.dtype)


def saved(what):
    try:
        what.save_pretrained("saved")
    except Exception as error:
        return type(error).__name__
    return "saved"


first = saved(model)
del model.config.quantization_config
second = saved(model)
plain = type(model)(model.config)
plain.load_state_dict(model.state_dict())
third = saved(plain)
print("as it is:", first, "| without quantization_config:", second, "| in a new model:", third)
assert (first, third) == ("ValueError", "saved") and second != "saved"
PYTHON
