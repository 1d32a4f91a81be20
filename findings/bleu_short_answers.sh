#!/usr/bin/env bash
# All answers right, and the BLEU of the whole set is 0 where that of each answer is 100.
#
# sacrebleu 2.6.0. Expected: the BLEU of a corpus in which every answer is the reference, to the letter, is 100. Seen: no text of it has four
# words, so that there is no group of four to be right in, and corpus_bleu gives 0; sentence_bleu counts only the groups that can be. The
# answers of memory benchmarks are that short. One answer of four words among them makes it 100.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check sacrebleu==2.6.0
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
from sacrebleu import corpus_bleu, sentence_bleu

SHORT = ["7 May 2023", "two dogs", "Sweden", "a blue car"]


def scores(answers):
    each = [round(sentence_bleu(answer, [answer]).score) for answer in answers]
    whole = round(corpus_bleu(answers, [answers]).score)
    print(f"{answers}: each {each}, whole {whole}")
    return set(each), whole


assert scores(SHORT) == ({100}, 0)
assert scores([*SHORT, "she moved to Sweden"]) == ({100}, 100)
PYTHON
