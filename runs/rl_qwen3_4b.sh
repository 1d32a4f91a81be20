#!/usr/bin/env bash
# Reinforcement learning of Qwen3-4B through its fast weights on LoCoMo, with the paper's settings as far as they are known: 200
# steps, 64 tasks of 8 lives, F1 as the reward. Interrupted, it goes on where it was.
#
#   runs/rl_qwen3_4b.sh locomo10.json [OUT] [GPUS]                                        one node
#   NODES=2 MEET=first-node:29500 runs/rl_qwen3_4b.sh locomo10.json /shared/out 8         on each of two, which see one folder
#   CUDA_VISIBLE_DEVICES=0,1,2,3 ENGINE=http://127.0.0.1:8000 runs/rl_qwen3_4b.sh locomo10.json out/rl 4   vLLM on the others
#                                                                                         (runs/vllm_rollouts.sh)
# Reasoned, not run by us at this size: no such machine was at hand (docs/training.md has the sizes, and what of this has run on small
# models). Every process holds the model; a slow LoRA keeps that small, and its rate is not the paper's 1e-6, which is for all
# weights: SLOW_LORA=0 RATE=1e-6 AT_ONCE=16 trains those, in float32, which takes 36 GB in each of 8 processes for 4B before anything
# is read. MODEL=Qwen/Qwen3-8B trains the larger one. An extraction has at most 1,024 tokens (paper).
set -euo pipefail
data=${1:?usage: runs/rl_qwen3_4b.sh locomo10.json [OUT] [GPUS]}
out=${2:-out/rl-qwen3-4b}
gpus=${3:-8}
python=${PYTHON:-.venv/bin/python}
where=(--standalone)
if [[ -n "${MEET:-}" ]]; then where=(--nnodes "${NODES:?NODES=2}" --rdzv_backend c10d --rdzv_endpoint "$MEET"); fi
how=(--lr "${RATE:-2e-5}" --slow-lora "${SLOW_LORA:-64}" --at-once "${AT_ONCE:-64}" --max-tokens 16384 --recompute --deltas disk)
if [[ -n "${ENGINE:-}" ]]; then how+=(--engine "$ENGINE"); fi
"$python" -m torch.distributed.run "${where[@]}" --nproc_per_node "$gpus" -m tmem train rl locomo \
  --data "$data" --model "${MODEL:-Qwen/Qwen3-4B}" --recipe paper --set lr="${WRITE_RATE:-5e-4}" --budget "${BUDGET:-4096}" --question known \
  --steps "${STEPS:-200}" --tasks "${TASKS:-64}" --group "${GROUP:-8}" --held-out "${HELD_OUT:-2}" --eval-every 50 \
  --extract-tokens "${EXTRACT:-1024}" "${how[@]}" --out "$out"
"$python" -m tmem train report "$out" --html "$out/report.html"
