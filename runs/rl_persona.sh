#!/usr/bin/env bash
# Reinforcement learning on the persona world from persona-nano's own weights: streams of four facts, seen people. What is learnt
# with credit for all actions and for answers alone, with the paper's one advantage per episode, and by other memories with
# the same budget; three seeds each.
# Interrupted, it goes on where it was. About four hours of one core; several may run at once, on a part each:
#
#   runs/rl_persona.sh [OUT] [PART ...]      parts: all answers paper memagent rag, and
#
# open: words made up anew for every conversation, memories written from zero (in two thirds of the steps); an hour and a
# half a seed.
set -euo pipefail
out=${1:-out/rl}
parts=("${@:2}")
tmem=${TMEM:-.venv/bin/tmem}
if [[ ${#parts[@]} == 0 ]]; then parts=(all answers paper memagent rag); fi
for part in "${parts[@]}"; do
  advantage=(--advantage question --weighting kinds)
  case $part in
    all) how=(--memory tmem --credit all) ;;
    answers) how=(--memory tmem --credit answers) ;;
    paper) how=(--memory tmem --credit all) advantage=(--advantage episode --weighting tokens) ;;
    open) how=(--memory tmem --recipe tmem --set fresh.steps_per_pair=3 --set fresh.beside=4 --people open)
      how+=(--held-out-people unseen) ;;
    memagent | rag) how=(--memory "$part") ;;
    *) echo "unknown part: $part" >&2; exit 2 ;;
  esac
  for seed in ${SEEDS:-1 2 3}; do
    "$tmem" train rl persona --recipe sgd --facts 4 --people seen --tasks 8 --group 8 --steps 40 --lr 2e-4 \
      "${advantage[@]}" --held-out 48 --eval-every 10 --threads 1 --seed "$seed" "${how[@]}" --out "$out/$part-$seed"
  done
done
"$tmem" train report "$out"
