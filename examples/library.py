"""The library in a minute: told, asked, corrected, forgotten. ``python examples/library.py [HOME]``.

Runs with the model that comes along, whose English is small; any other is named in ``Memory``.
"""

import sys
import tempfile

from tmem import Memory

home = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
with Memory("persona-nano", home=home) as memory:
    ana = memory.scope(user_id="ana")  # bound once: what an application passes around
    receipt = ana.add('Ana said, "I live in Lyon."', timestamp="2026-05-08")
    for pair in receipt.pairs:
        print("written:", pair["question"], pair["answer"])
    print("answer:", ana.ask("Where does Ana live?").text)
    print("never told:", ana.ask("What is Ana's job?").text)

    [pair] = ana.get_all()
    ana.update(pair["id"], "Oslo")
    print("corrected:", ana.ask("Where does Ana live?").text)

    ana.delete_all()  # weights as if it had never been told; of the correction alone, "Lyon" would hold again
    print("forgotten:", ana.ask("Where does Ana live?").text)
