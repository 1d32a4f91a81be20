#!/usr/bin/env bash
# What a tokenizer was last asked for is saved with it: whoever reads tokenizer.json itself gets every text cut.
#
# transformers 5.23.0, tokenizers 0.23.3. Expected: truncation=True, max_length=4 belong to one call. Seen: they stay in the object, and
# save_pretrained writes them to tokenizer.json. AutoTokenizer takes them out again with each call and so does not show it; programs
# that open the file with `tokenizers` (in any language) get four tokens of every text, or padding to the longest.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

TEXT = "anna has two dogs and a cat"
words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(["[pad]", *TEXT.split()])}, unk_token="[pad]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[pad]")


def saved():
    tokenizer.save_pretrained("saved")
    held = json.loads(Path("saved/tokenizer.json").read_text())
    direct = Tokenizer.from_file("saved/tokenizer.json").encode(TEXT).ids
    through = AutoTokenizer.from_pretrained("saved")(TEXT).input_ids
    print(f"truncation {held['truncation']}, read by tokenizers {direct}, by transformers {through}")
    return direct, through


assert saved() == ([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7])
tokenizer(TEXT, truncation=True, max_length=4)
assert saved() == ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7])
PYTHON
