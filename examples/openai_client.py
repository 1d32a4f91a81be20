"""The openai package against a server of ours: ``tmem serve -m persona-nano``, then this file.

Needs ``pip install openai``. Arguments: the server's address, and a key if it needs one.
"""

import sys

from openai import OpenAI

address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8765"
key = sys.argv[2] if len(sys.argv) > 2 else "not needed on this computer"
client = OpenAI(base_url=f"{address}/v1", api_key=key)
model = client.models.list().data[0].id

# Learning is off unless a request says so; whose memory it is, the key says, or else ``user``.
told = client.chat.completions.create(
    model=model,
    user="ana",
    messages=[{"role": "user", "name": "Ana", "content": "I live in Lyon."}],
    extra_body={"memory": {"learn": True}},
)
for pair in told.tmem["learned"]:
    print("learned:", pair["question"], pair["answer"])

# Another conversation, which has nothing of the first one.
asked = [{"role": "user", "content": "Where does Ana live?"}]
with client.chat.completions.create(model=model, user="ana", messages=asked, stream=True) as stream:
    print("answer:", "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))
