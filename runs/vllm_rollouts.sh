#!/usr/bin/env bash
# A server of vLLM's for RL: it generates under an adapter for every rollout, and gets the weights of every step.
#
#   runs/vllm_rollouts.sh [MODEL] [OPTIONS OF vllm serve ...]      then: ENGINE=http://127.0.0.1:8000 runs/rl_qwen3_4b.sh ...
#
# VLLM=PATH: Python of an environment with vLLM (runs/vllm_cpu.sh makes one for CPUs). Adapters and weights come through folders that
# it has to see: tmem's cache and the run's own. Who can reach a server in development mode can do with it what they like: keep it
# to this machine. On GPUs, give it those that do not learn, as CUDA_VISIBLE_DEVICES=4,5,6,7 ... --data-parallel-size 4: reasoned, not
# run by us; what has run is a model of 16 MB on a CPU.
set -euo pipefail
model=${1:-Qwen/Qwen3-4B}
shift || true
export VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 VLLM_SERVER_DEV_MODE=1 VLLM_NO_USAGE_STATS=1
exec "${VLLM:-out/vllm/bin/python}" -m vllm.entrypoints.openai.api_server --model "$model" --host 127.0.0.1 \
  --enable-lora --max-lora-rank "${RANK:-32}" --max-loras "${LORAS:-64}" "$@"
