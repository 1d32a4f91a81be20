#!/usr/bin/env bash
# Of a dense Qwen3 in GGUF the size of a head is not read: a file whose heads are not 128 wide cannot be loaded.
#
# transformers 5.23.0, gguf 0.19.0. Expected: attention.key_length is read, as it is for Qwen3's mixtures of experts. Seen: head_dim is the
# class's default, 128, whatever the file says, and tensors of other shapes end in a RuntimeError that names neither.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0
cd "$folder"
PYTHONPATH="$here" "$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
from gguf import GGUFReader
from tiny_gguf import write
from transformers import AutoConfig, AutoModelForCausalLM

write("tiny.gguf", "qwen3", head=32)
said = GGUFReader("tiny.gguf").get_field("qwen3.attention.key_length").contents()
read = AutoConfig.from_pretrained(".", gguf_file="tiny.gguf").head_dim
print("the file says", said, "and the config", read)
assert (said, read) == (32, 128)
try:
    AutoModelForCausalLM.from_pretrained(".", gguf_file="tiny.gguf")
except RuntimeError as error:
    print("RuntimeError:", str(error).splitlines()[0])
    assert "key_length" not in str(error) and "head_dim" not in str(error)
else:
    raise SystemExit("it loads now")
PYTHON
