"""A model of your own: ``python examples/own_model.py DIRECTORY [HOME]``, a directory, or a name on the hub.

Any causal model that transformers loads and that has dense feed-forward layers will do. Pairs that are given as they
are need no extraction, so that the model need not have been taught it; whether it can hold them is measured by
``tmem card --model DIRECTORY``.
"""

import sys
import tempfile

from tmem import Memory
from tmem.model import load

model = load(sys.argv[1])
home = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()
recipe = model.recipe("tmem")
matrices = model.fast(recipe).target_modules
print(f"{model.name}: {model.window} tokens, Delta of rank {recipe.rank} in {len(matrices)} matrices of it")
with Memory(model, home=home) as memory:
    receipt = memory.add(pairs=[("What is the code of the shed?", "4471")], user_id="ana")
    print("the weights give it:", receipt.pairs[0]["recalled"])
    answer = memory.ask("What is the code of the shed?", user_id="ana")
    print(f"answer ({answer.source}):", answer.text)
