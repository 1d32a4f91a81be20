#!/usr/bin/env bash
# With two texts rank_bm25 gives every text the score 0, and with one text a score below 0 to the one that has the words.
#
# rank-bm25 0.2.2. Expected: a text that has the query's words scores above one that has none of them, however few texts there are, as with
# BM25L of the same package and with bm25s 0.3.16. Seen: BM25Okapi's weight of a word that half of the texts have is log(1) = 0, and its
# floor for words in more than half of them is a share of the mean weight, which is below 0 where most words are common. A memory that
# starts is that small: asked for the best text it answers with whichever stands first, and "score > 0" finds nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check rank-bm25==0.2.2 bm25s==0.3.16 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import bm25s
from rank_bm25 import BM25L, BM25Okapi

TEXTS = ["ben has two dogs", "anna drinks green tea", "carl sings in choirs"]
WORDS = [text.split() for text in TEXTS]


def others(words):
    index = bm25s.BM25()
    index.index(words, show_progress=False)
    return index.get_scores(["tea"])


def signs(kind, words):
    scores = (others(words) if kind is None else kind(words).get_scores(["tea"])).tolist()
    print(f"{'bm25s' if kind is None else kind.__name__}, tea in {len(words)} texts: {[round(score, 3) for score in scores]}")
    return [(score > 0) - (score < 0) for score in scores]


assert signs(BM25Okapi, WORDS) == signs(BM25L, WORDS) == signs(None, WORDS) == [0, 1, 0]
assert signs(BM25Okapi, WORDS[:2]) == [0, 0]
assert signs(BM25Okapi, WORDS[1:2]) == [-1]
assert signs(BM25L, WORDS[:2]) == signs(None, WORDS[:2]) == [0, 1]
assert signs(BM25L, WORDS[1:2]) == signs(None, WORDS[1:2]) == [1]
PYTHON
