#!/usr/bin/env bash
# ROUGE gives 0 to a right answer in another script than Latin, and 1 to a name without its accented letter.
#
# rouge-score 0.1.2. Expected: a text that is the reference has 1, in any language, and another name has not. Seen: only a to z and digits are
# letters to it, so that nothing is left of a Russian, Hindi or Chinese answer, and "Zo" is the same word as "Zoë".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check rouge-score==0.1.2
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
from rouge_score.rouge_scorer import RougeScorer


def score(reference, answer):
    found = {name: one.fmeasure for name, one in RougeScorer(["rouge1", "rougeL"]).score(reference, answer).items()}
    print(f"{answer!r} for {reference!r}: {found}")
    return set(found.values())


assert score("Sweden", "Sweden") == {1}
for place in ("Москва", "मुंबई", "北京"):
    assert score(place, place) == {0}
assert score("Zoë", "Zo") == {1}
PYTHON
