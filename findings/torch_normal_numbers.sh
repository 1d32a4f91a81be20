#!/usr/bin/env bash
# The same seed gives other normal numbers in float32 on a processor without AVX2, and the same in float64.
#
# torch 2.13.0, CPU, x86. Expected: torch.manual_seed makes torch.randn the same on every CPU of one architecture, as the generator is the
# same. Seen: in float32 the vectorised path computes them otherwise than the plain one (simulated by ATEN_CPU_CAPABILITY=default);
# float64 is alike. A random projection that is made anew on each machine should be drawn in float64.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy
cd "$folder"
for type in float32 float64; do
  for capability in default avx2; do
    ATEN_CPU_CAPABILITY=$capability "$folder/env/bin/python" - $type > "$type.$capability" <<"PYTHON"
import hashlib
import sys

import torch

draw = torch.Generator().manual_seed(5)
numbers = torch.randn(32, 576, generator=draw, dtype=getattr(torch, sys.argv[1]))
print(hashlib.sha256(numbers.numpy().tobytes()).hexdigest()[:16])
PYTHON
    echo "$type, $capability: $(cat "$type.$capability")"
  done
done
! cmp -s float32.default float32.avx2
cmp float64.default float64.avx2
