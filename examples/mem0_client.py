"""mem0's own client against a server of ours: ``tmem serve -m persona-nano``, then ``python examples/mem0_client.py``.

Needs ``pip install mem0ai``. Arguments: the server's address, and a key, which has to be one user's (``tmem keys make
phone --user maria``): this client does not say whose a memory is when it gets, changes or deletes one.
"""

import os
import sys

os.environ["MEM0_TELEMETRY"] = "False"  # the library would tell its maker of every call

from mem0 import MemoryClient

address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8765"
client = MemoryClient(api_key=sys.argv[2] if len(sys.argv) > 2 else "not needed on this computer", host=address)
if len(sys.argv) < 3:
    client.client.headers["X-Tmem-User"] = "maria"  # without a key the header says it

told = [{"role": "user", "name": "Maria", "content": "I live in Lyon."}]
for row in client.add(told, user_id="maria", metadata={"from": "chat"})["results"]:
    print("added:", row["memory"])
[found] = client.search("where does she live", filters={"user_id": "maria"}, top_k=1)["results"]
print("found:", found["answer"], found["metadata"])
client.update(found["id"], text="Nice")
print("now:", [row["answer"] for row in client.get_all(filters={"user_id": "maria"})["results"]])
client.delete_all(user_id="maria")
print("after deleting:", client.get_all(filters={"user_id": "maria"})["results"])
