#!/usr/bin/env bash
# LoCoMo as in the paper: Qwen3-4B, all 1,986 questions, three seeds, every memory. Needs a GPU (24 GiB or more) and the file
# locomo10.json of github.com/snap-research/locomo (CC BY-NC 4.0). Interrupted, it goes on where it was.
#
#   runs/locomo_qwen3_4b.sh locomo10.json [OUT]
#
# Not run by us: no GPU was at hand. What has run is the whole path on small models (README, docs/evaluation.md).
set -euo pipefail
data=${1:?usage: runs/locomo_qwen3_4b.sh locomo10.json [OUT]}
out=${2:-out/locomo-qwen3-4b}
tmem=${TMEM:-.venv/bin/tmem}
how=(--data "$data" --model "${MODEL:-Qwen/Qwen3-4B}" --recipe paper --lr 5e-4 --budget 4096
  --question known --decoding published --seeds 1,2,3)
"$tmem" eval locomo "${how[@]}" --memory none,tail,full,memagent,rag,tmem,tmem+explicit,tmem:text,tmem:summary --out "$out"
# A-MEM finds its notes by the encoder that it was published with; rag above by BM25.
"$tmem" eval locomo "${how[@]}" --memory amem --embedder sentence-transformers/all-MiniLM-L6-v2 --out "$out-amem"
"$tmem" eval report "$out" "$out-amem" --html "$out/report.html"
cat <<'TABLE'

Published for TMEM on LoCoMo (before RL; secondary sources, mean of three runs, all questions by token F1 / EM):
  Qwen3-4B   TMEM 25.72 / 15.40   best baseline 25.66 F1   raw text 21.19 / 10.74   summaries as supervision 24.86 / 14.28
  Qwen3-8B   TMEM 26.75 / 20.24
Raw text and summaries as supervision are tmem:text and tmem:summary above.
Beside them: answering "No information available" to every question scores 22.73 / 22.46.
TABLE
