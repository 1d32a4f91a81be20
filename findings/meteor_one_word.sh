#!/usr/bin/env bash
# METEOR of a right answer of one word is 0.5, less than that of a wrong one of four.
#
# nltk 3.10.4. Expected: an answer that is the reference, to the letter, has 1. Seen: 0.5 for one word, 0.9375 for two, 0.9815 for three,
# for half of the score is taken off by the number of connected pieces through the number of words, and one piece of one word is the most
# that there can be. Of four words that answer "where to?" and have the wrong place it is 0.74. The answers of memory benchmarks, for
# which METEOR is reported, are mostly of one to three words. (No synonyms are looked up here: the words are the same.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check nltk==3.10.4
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
from nltk.translate.meteor_score import single_meteor_score


class NoSynonyms:
    def synsets(self, word):
        return []


def score(reference, answer):
    found = round(single_meteor_score(reference.split(), answer.split(), wordnet=NoSynonyms()), 4)
    print(f"{answer!r} for {reference!r}: {found}")
    return found


assert score("Sweden", "Sweden") == 0.5
assert score("two dogs", "two dogs") == 0.9375
assert score("7 May 2023", "7 May 2023") == 0.9815
assert score("she moved to Sweden", "she moved to Norway") == 0.7361
PYTHON
