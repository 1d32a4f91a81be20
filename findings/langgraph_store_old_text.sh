#!/usr/bin/env bash
# LangGraph's InMemoryStore finds a memory by what it said before: a new value without the indexed field keeps the old one's vector.
#
# langgraph 1.2.24, langgraph-checkpoint 4.3.2. Expected: put() of a key in use replaces the memory, with what it is found by. Seen: if the
# new value has no such field, or is put with index=False, the old vector stays, and the new value is the best match, score 1, for a text
# that is stored no more. The value is held as the object that was given: what the caller or a reader changes in it afterwards is changed in
# the store, without a put().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check langgraph==1.2.24 langgraph-checkpoint==4.3.2
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
from langgraph.store.memory import InMemoryStore

USER = ("memories", "anna")


def embed(texts):
    return [[float("dog" in text), float("tea" in text)] for text in texts]


def after(title, value, **options):
    store = InMemoryStore(index={"dims": 2, "embed": embed, "fields": ["text"]})
    store.put(USER, "1", {"text": "Anna has a dog."})
    store.put(USER, "2", {"text": "Anna drinks tea."})
    store.put(USER, "1", value, **options)
    found = [(item.value, item.score) for item in store.search(USER, query="a dog")]
    print(f"{title}: {found}")
    return found[0]


fresh = after("a new text", {"text": "Anna sings."})
assert fresh[1] == 0
assert after("without the field", {"forgotten": True}) == ({"forgotten": True}, 1.0)
assert after("index=False", {"text": "Anna sings."}, index=False) == ({"text": "Anna sings."}, 1.0)
store, own = InMemoryStore(), {"texts": ["one"]}
store.put(USER, "3", own)
own["texts"].append("two")
store.get(USER, "3").value["texts"].append("three")
print("changed by the caller and by a reader:", store.get(USER, "3").value)
assert store.get(USER, "3").value == {"texts": ["one", "two", "three"]}
PYTHON
