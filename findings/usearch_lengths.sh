#!/usr/bin/env bash
# With numbers of eight bits usearch forgets how long vectors are, whatever the metric: l2sq and ip become cosine.
#
# usearch 2.26.6, numpy 2.4.6. Expected: dtype="i8" costs precision. Seen: each vector is brought to one length before it is rounded, the
# query too, so that of two vectors in one direction, one ten times as long as the other, both are as near; the distances are on a
# scale of their own, and get() gives numbers that were never put in. In f32 and f16 the longer one is found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check usearch==2.26.6 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import numpy
from usearch.index import Index

stored = {1: [1, 1, 0, 0], 2: [10, 10, 0, 0], 3: [0, 30, 1, 0]}
for metric in ("l2sq", "ip"):
    for kind in ("f32", "f16", "i8"):
        index = Index(ndim=4, metric=metric, dtype=kind)
        for key, vector in stored.items():
            index.add(key, numpy.array(vector, numpy.float32))
        found = index.search(numpy.array([10, 10, 0, 0], numpy.float32), 3)
        away = {int(key): float(distance) for key, distance in zip(found.keys, found.distances)}
        print(f"{metric}, {kind}: {away}, 1 is held as {index.get(1).tolist()}")
        if kind == "i8":
            assert abs(away[1] - away[2]) <= 0.02 * max(abs(away[2]), 127)
        else:
            assert away[2] < away[1] - 80
PYTHON
