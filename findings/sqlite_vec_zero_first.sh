#!/usr/bin/env bash
# A text without a known word has the vector zero in model2vec; stored first in sqlite-vec, it is found first in every search by cosine.
#
# model2vec 0.10.0, sqlite-vec 0.1.9, apsw 3.54.1.0. Expected: a memory that is empty, or in words that the model does not have, is the last
# one found, or none. Seen: its distance to everything is NULL, and where it stands among the found depends on when it was stored: as the
# first row it is before the text that is equal to the query, with k=1 nothing else is ever found; as the last it is found last.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check model2vec==0.10.0 sqlite-vec==0.1.9 apsw==3.54.1.0
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import apsw
import numpy
import sqlite_vec
from model2vec import StaticModel
from tokenizers import Tokenizer, models, pre_tokenizers

words = Tokenizer(models.WordLevel({"[UNK]": 0, "tea": 1, "dog": 2, "car": 3}, unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
model = StaticModel(numpy.eye(4, dtype=numpy.float32), words)


def searches(texts, k):
    base = apsw.Connection(":memory:")
    base.enable_load_extension(True)
    base.load_extension(sqlite_vec.loadable_path())
    base.execute("create virtual table memory using vec0(vector float[4] distance_metric=cosine)")
    for at, vector in enumerate(model.encode(texts)):
        base.execute("insert into memory(rowid, vector) values (?, ?)", (at, vector.tobytes()))
    found = {}
    for text in ("tea", "dog", "car"):
        asked = (model.encode([text])[0].tobytes(), k)
        rows = base.execute("select rowid, distance from memory where vector match ? and k = ?", asked)
        found[text] = [(texts[at], distance) for at, distance in rows]
    print(f"stored {texts}, k={k}: {found}")
    return found


print("the vector of чай:", model.encode(["чай"])[0].tolist())
for text, found in searches(["чай", "tea", "dog", "car"], 1).items():
    assert found == [("чай", None)]
for text, found in searches(["чай", "tea", "dog", "car"], 2).items():
    assert found == [("чай", None), (text, 0.0)]
for text, found in searches(["tea", "dog", "car", "чай"], 4).items():
    assert found[0] == (text, 0.0) and found[-1] == ("чай", None)
PYTHON
