"""A conversation that is learned from while it is held. ``python examples/chat.py [HOME]``; ends with an empty line.

Every message is learned first, then answered: from the weights what was told, by the model itself all else. Nothing
of an earlier conversation is in any prompt.
"""

import sys
import tempfile

from tmem import Memory

home = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
with Memory("persona-nano", home=home) as memory:
    ana = memory.scope(user_id="ana")
    turns: list[dict[str, str]] = []
    print("you: ", end="", flush=True)
    while said := sys.stdin.readline().strip():
        turns.append({"role": "user", "content": said})
        reply = ana.chat(turns, name="Ana")
        for pair in reply.learned.pairs if reply.learned else ():
            print("learned:", pair["question"], pair["answer"])
        if reply.text:
            turns.append({"role": "assistant", "content": reply.text})
            print(f"it ({reply.source}):", reply.text)
        print("you: ", end="", flush=True)
