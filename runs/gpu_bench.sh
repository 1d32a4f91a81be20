#!/usr/bin/env bash
# What `make bench` measures, on a GPU in bfloat16: writes, decoding with many memories, first tokens and whole episodes beside
# Transformers with PEFT, in the exact shapes of Qwen3-0.6B and Qwen3-4B with random weights. Interrupted, it goes on where it was.
#
#   runs/gpu_bench.sh [OUT] [ROUNDS]
#
# Reasoned, not run by us: no such machine was at hand. What has run is the same path on CPUs, in float32 and bfloat16.
set -euo pipefail
out=${1:-out/gpu}
rounds=${2:-3}
mkdir -p "$out"
for shape in ${SHAPES:-0.6B 4B}; do
  .venv/bin/python benchmarks/bench.py --shapes "$shape" --dtype bfloat16 --repeats "$rounds" --out "$out/bench-$shape.json"
done
