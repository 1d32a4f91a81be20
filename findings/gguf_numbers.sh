#!/usr/bin/env bash
# A GGUF file says how texts are cut before their bytes are joined; for SmolLM's way the tokenizer forgets it.
#
# transformers 5.23.0, gguf 0.19.0. Expected: `tokenizer.ggml.pre = smollm`, each digit and other number alone, is kept, as `qwen2`
# and `llama-bpe` are. Seen: the plain byte-level cut, so that 1½ is one token where llama.cpp has two; in SmolLM2's own
# vocabulary 465 numerals beside a digit or a space get other tokens, without a word.
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
from transformers import AutoTokenizer

write("tiny.gguf")
said = GGUFReader("tiny.gguf").get_field("tokenizer.ggml.pre").contents()
tokenizer = AutoTokenizer.from_pretrained(".", gguf_file="tiny.gguf")
found = tokenizer.tokenize("1½")
print("the file says", said, "and 1½ is", found, "cut by", tokenizer.backend_tokenizer.pre_tokenizer)
assert said == "smollm" and len(found) == 1
PYTHON
