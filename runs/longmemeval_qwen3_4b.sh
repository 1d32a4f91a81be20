#!/usr/bin/env bash
# LongMemEval-S as in the paper: Qwen3-4B, 500 questions of about 115k tokens each, three seeds. Needs a GPU and
# longmemeval_s_cleaned.json of huggingface.co/datasets/xiaowu0162/longmemeval-cleaned. Interrupted, it goes on.
#
#   runs/longmemeval_qwen3_4b.sh longmemeval_s_cleaned.json [OUT]
#
# With JUDGE_URL and JUDGE_MODEL set, the answers are judged as well (the official judge is gpt-4o-2024-08-06).
# Not run by us: no GPU was at hand.
set -euo pipefail
data=${1:?usage: runs/longmemeval_qwen3_4b.sh longmemeval_s_cleaned.json [OUT]}
out=${2:-out/longmemeval-qwen3-4b}
tmem=${TMEM:-.venv/bin/tmem}
how=(--data "$data" --model "${MODEL:-Qwen/Qwen3-4B}" --recipe paper --lr 5e-4 --budget 4096
  --question known --decoding published --seeds 1,2,3)
"$tmem" eval longmemeval "${how[@]}" --memory none,tail,full,memagent,rag,tmem,tmem+explicit --out "$out"
# A-MEM finds its notes by the encoder that it was published with. With turns as notes it would be half a million calls:
# its notes are sessions, of which the encoder reads every piece.
"$tmem" eval longmemeval "${how[@]}" --memory amem --notes-whole --embedder sentence-transformers/all-MiniLM-L6-v2 \
  --out "$out-amem"
if [[ -n "${JUDGE_URL:-}" ]]; then
  for run in "$out" "$out-amem"; do
    "$tmem" score "$run" --judge-url "$JUDGE_URL" --judge-model "${JUDGE_MODEL:?set JUDGE_MODEL, too}"
  done
fi
"$tmem" eval report "$out" "$out-amem" --html "$out/report.html"
cat <<'TABLE'

Published for LongMemEval-S (before RL; secondary sources, token F1 / EM):
  Qwen3-4B   TMEM 41.24 / 25.54   MemAgent 36.45   A-MEM 29.22   no memory 5.30
  Qwen3-8B   TMEM 41.87 / 25.42   MemAgent 31.66   A-MEM 28.99   no memory 3.50
Which of none, tail and full "no memory" is, is not said; most likely full, a history that does not fit and is cut.
TABLE
