#!/usr/bin/env bash
# Qdrant's reciprocal rank fusion counts with 2 where its paper and other stores have 60, and its weights weigh the rank.
#
# qdrant-client 1.20.0 in memory. Expected: RRF is the sum of 1 / (60 + rank), so that a text which both searches have fourth is before one
# that a single search has first, and a weight of 3 triples a search's share. Seen: 1 / (1 + rank), so that one search alone decides, the
# other way round; weight w gives 1 / (1 + rank / w), so that of a first place 3 makes 1.5 times as much. Rrf(k=61) is the paper's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check qdrant-client==1.20.0
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
from qdrant_client import QdrantClient, models

ONE, OTHER = ["words alone", "x1", "x2", "both", "x3"], ["y1", "y2", "y3", "both", "y4"]
client = QdrantClient(":memory:")
size = models.VectorParams(size=1, distance=models.Distance.DOT)
client.create_collection("memory", {"words": size, "meaning": size})
for at, name in enumerate(dict.fromkeys(ONE + OTHER)):
    vectors = {kind: [float(9 - own.index(name))] for kind, own in (("words", ONE), ("meaning", OTHER)) if name in own}
    client.upsert("memory", [models.PointStruct(id=at, vector=vectors, payload={"name": name})])


def fused(title, query):
    parts = [models.Prefetch(query=[1.0], using=kind, limit=5) for kind in ("words", "meaning")]
    points = client.query_points("memory", prefetch=parts, query=query, limit=9).points
    found = {point.payload["name"]: round(point.score, 4) for point in points}
    print(f"{title}: {found}")
    return found


default = fused("Fusion.RRF", models.FusionQuery(fusion=models.Fusion.RRF))
paper = fused("Rrf(k=61)", models.RrfQuery(rrf=models.Rrf(k=61)))
weighted = fused("weights 3 and 1", models.RrfQuery(rrf=models.Rrf(weights=[3.0, 1.0])))
assert default["words alone"] == 0.5 > default["both"] == 0.4
assert paper["both"] == round(2 / 64, 4) > paper["words alone"] == round(1 / 61, 4)
assert weighted["words alone"] == 0.75 and weighted["y1"] == 0.5
PYTHON
