#!/usr/bin/env bash
# A tokenizer that was changed, saved and loaded again is the unchanged one: its class counts for more than tokenizer.json.
#
# transformers 5.23.0, tokenizers 0.23.3. Expected: from_pretrained gives what save_pretrained wrote; tokenizer.json holds the whole
# tokenizer. Seen: of classes that know how they cut (Qwen2Tokenizer, GPT2Tokenizer) only the vocabulary and the merges are read; a
# normalizer or pre_tokenizer set on the object stands in the file, and is replaced in silence by the class's own (of a model that names
# GPT2Tokenizer and cuts each digit alone, numbers are put together). Programs that read the file get other tokens from the same folder.
# With "tokenizer_class": "TokenizersBackend" in tokenizer_config.json it is read whole.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json
from pathlib import Path

from tokenizers import Tokenizer, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoTokenizer, GPT2Tokenizer, Qwen2Tokenizer

TEXT = "HELLO 2023"
start = Tokenizer(BPE())
start.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
start.train_from_iterator(["hello 2023 " * 9], trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet))
bpe = json.loads(start.to_str())["model"]

for kind in (Qwen2Tokenizer, GPT2Tokenizer):
    made = kind(vocab=bpe["vocab"], merges=[tuple(pair) for pair in bpe["merges"]])
    unchanged = made.tokenize(TEXT)
    made.backend_tokenizer.normalizer = normalizers.Lowercase()
    digits, joined = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, joined])
    changed = made.tokenize(TEXT)
    made.save_pretrained("saved")
    direct = Tokenizer.from_file("saved/tokenizer.json").encode(TEXT, add_special_tokens=False).tokens
    loaded = AutoTokenizer.from_pretrained("saved").tokenize(TEXT)
    settings = json.loads(Path("saved/tokenizer_config.json").read_text())
    Path("saved/tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "TokenizersBackend"}))
    whole = AutoTokenizer.from_pretrained("saved").tokenize(TEXT)
    print(f"{kind.__name__}: before saving {changed}, read by tokenizers {direct}, loaded {loaded}, as TokenizersBackend {whole}")
    assert changed == direct == whole and loaded == unchanged != changed
PYTHON
