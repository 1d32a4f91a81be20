#!/usr/bin/env bash
# Two of Chroma's EphemeralClients in one process are one: what the first was told the second one finds.
#
# chromadb 1.5.9. Expected: chromadb.EphemeralClient() is a new, empty store in memory, as sqlite3.connect(":memory:") and
# QdrantClient(":memory:") are; so it is used for one test, one episode or one user each. Seen: all of them look at one store, and they do
# so still when the first client is gone. PersistentClients with a folder each are apart.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check chromadb==1.5.9
cd "$folder"
ANONYMIZED_TELEMETRY=False "$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import gc

import chromadb


def found(client):
    kept = client.get_or_create_collection("memory", embedding_function=None)
    return kept.query(query_embeddings=[[1, 0]], n_results=1)["documents"][0]


first = chromadb.EphemeralClient()
first.create_collection("memory", embedding_function=None).add(ids=["1"], embeddings=[[1, 0]], documents=["Anna lives in Rome."])
second = found(chromadb.EphemeralClient())
del first
gc.collect()
third = found(chromadb.EphemeralClient())
print("second client:", second, "| third, after the first is gone:", third)
apart = [chromadb.PersistentClient(path) for path in ("one", "other")]
apart[0].create_collection("memory", embedding_function=None).add(ids=["1"], embeddings=[[1, 0]], documents=["Ben has a dog."])
print("two PersistentClients:", [found(client) for client in apart])
assert second == third == ["Anna lives in Rome."]
assert [found(client) for client in apart] == [["Ben has a dog."], []]
PYTHON
