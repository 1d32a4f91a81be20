#!/usr/bin/env bash
# Every memory on the persona world: two models, three stream lengths, three seeds, thirty conversations each.
# About an hour on two cores, half of it A-MEM. Interrupted, it goes on where it was. The tables are printed and written to out/persona.
#
#   runs/persona_table.sh [OUT] [WORKERS]
set -euo pipefail
out=${1:-out/persona}
workers=${2:-2}
tmem=${TMEM:-.venv/bin/tmem}
for facts in 4 8 16; do
  for model in ${MODELS:-persona-nano persona-small}; do
    "$tmem" eval persona --model "$model" --facts "$facts" --limit 30 --seeds 1,2,3 --workers "$workers" --recipe sgd \
      --memory none,tail,full,memagent,rag,tmem,tmem+explicit,amem --out "$out/$(basename "$model")-$facts"
  done
done
"$tmem" eval report "$out" --html "$out/report.html"
