#!/usr/bin/env bash
# An upsert in Chroma leaves what it does not name: the old text stays beside the new vector, and old metadata keys beside the new ones.
#
# chromadb 1.5.9. Expected: upsert(ids=["1"], ...) puts the given record in the place of the old one, as in Qdrant. Seen: it is an update.
# Metadata are merged key by key, and a record that is given as vector and metadata alone keeps its old text. A fact that was put right is
# found by its new vector and read out in its old words; a filter by a key that it should have no more still finds it. A key is taken away
# by giving None for it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check chromadb==1.5.9
cd "$folder"
ANONYMIZED_TELEMETRY=False "$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import chromadb

memory = chromadb.EphemeralClient().create_collection("memory", embedding_function=None)
memory.add(ids=["1"], embeddings=[[1, 0]], documents=["Anna lives in Rome."], metadatas=[{"user": "anna", "expires": 2024}])


def shown(title):
    held = memory.get(ids=["1"], include=["documents", "metadatas", "embeddings"])
    print(f"{title}: {held['documents']}, {held['metadatas']}, {held['embeddings'].tolist()}")
    return held["documents"][0], held["metadatas"][0]


shown("added")
memory.upsert(ids=["1"], embeddings=[[0, 1]], metadatas=[{"user": "anna", "source": "chat"}])
assert shown("upsert of vector and metadata") == ("Anna lives in Rome.", {"user": "anna", "expires": 2024, "source": "chat"})
assert memory.get(where={"expires": 2024})["ids"] == ["1"]
memory.upsert(ids=["1"], embeddings=[[0, 1]], metadatas=[{"expires": None}])
assert shown("upsert of None") == ("Anna lives in Rome.", {"user": "anna", "source": "chat"})
PYTHON
