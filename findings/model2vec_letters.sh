#!/usr/bin/env bash
# model2vec takes the mean of all words of a text, but of a long text it takes the first few hundred, and counts them in letters.
#
# model2vec 0.10.0. Expected: a mean of word vectors has no window; or, as max_length=512 is named, one of 512 tokens. Seen: before it is
# cut into tokens the text is cut to 512 times the median length of the vocabulary's tokens, in characters. With a vocabulary of short
# pieces and a text of long words 153 words are left, and what comes after them does not change the vector. max_length=None reads it all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check model2vec==0.10.0
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import numpy
from model2vec import StaticModel
from tokenizers import Tokenizer, models, pre_tokenizers

VOCABULARY = ["[UNK]", "the", "a", "is", "tea", "gardening", "motorcycle"]
words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
model = StaticModel(numpy.eye(len(VOCABULARY), dtype=numpy.float32), words)


def share(before, **limit):
    text = " ".join(["gardening"] * before + ["motorcycle"])
    return float(model.encode([text], **limit)[0][VOCABULARY.index("motorcycle")])


seen = {before: share(before) for before in (100, 150, 160, 400)}
print("share of the last word after so many others:", seen)
print("max_length=None:", share(400, max_length=None))
assert seen[100] > 0 and seen[150] > 0 and seen[160] == seen[400] == 0 and share(400, max_length=None) > 0
PYTHON
