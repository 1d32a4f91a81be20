#!/usr/bin/env bash
# One job on several machines, by Ray (pip install 'tmem[ray]'): lives of an evaluation, and writes that wait.
#
#   runs/nodes.sh head                                            on the first machine
#   runs/nodes.sh node FIRST:6379                                 on every other one
#   runs/nodes.sh eval 16 out/locomo locomo --data locomo10.json --model Qwen/Qwen3-4B --recipe paper --lr 5e-4 --budget 4096
#   runs/nodes.sh absorb 16 /var/lib/tmem --model Qwen/Qwen3-4B   a home with its ledger in Postgres (docs/scale.md)
#   runs/nodes.sh stop                                            on every machine
#
# A process takes a core, and a GPU where the machines have some: 16 are two nodes of 8. Model and data have to lie on every machine
# where they lie on the first. Interrupted, the same command goes on.
set -euo pipefail
bin=${BIN:-.venv/bin}
what=${1:?usage: runs/nodes.sh head | node ADDRESS | eval COUNT OUT BENCHMARK ... | absorb COUNT HOME ... | stop}
shift
export RAY_USAGE_STATS_ENABLED=0
case $what in
  head) "$bin/ray" start --head --port 6379 ;;
  node) "$bin/ray" start --address "$1" ;;
  eval) "$bin/tmem" eval "$3" --ray auto --workers "$1" --out "$2" "${@:4}" ;;
  absorb) "$bin/tmem" absorb --ray auto --processes "$1" --home "$2" "${@:3}" ;;
  stop) "$bin/ray" stop ;;
  *) echo "unknown: $what" >&2; exit 2 ;;
esac
