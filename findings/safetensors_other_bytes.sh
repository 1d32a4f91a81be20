#!/usr/bin/env bash
# The same tensors with the same metadata are other bytes each time they are saved.
#
# safetensors 0.8.0, numpy 2.4.6. Expected: one content, one file, so that a digest names an adapter. Seen: metadata of more than one key
# is written in random order, within one process as well; with one key, or none, the bytes are always the same. A digest has to be taken
# of the tensors, or of a file with at most one key.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" - <<"PYTHON"
import hashlib

import numpy
from safetensors.numpy import load, save

tensors = {"lora_A": numpy.ones((2, 3), numpy.float32), "lora_B": numpy.zeros((4, 2), numpy.float32)}
for keys in ("", "a", "abcdefgh"):
    made = [save(tensors, {key: key for key in keys}) for _ in range(20)]
    digests = {hashlib.sha256(one).hexdigest() for one in made}
    print(f"{len(keys)} keys of metadata, saved 20 times: {len(digests)} digests, length {len(made[0])}")
    assert all((load(one)["lora_A"] == tensors["lora_A"]).all() for one in made)
    assert (len(digests) == 1) == (len(keys) < 2)
PYTHON
