"""A memory taken elsewhere: ``python examples/export.py FOLDER``. As a ledger into another home, and into PEFT.

Needs ``pip install peft``. What leaves a home is personal data like the text that it was made from, and no forgetting
reaches it.
"""

import sys
from pathlib import Path

import torch
from peft import PeftModel

from tmem import Memory
from tmem.model import load

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
model = load("persona-nano")
question = "Where does Ana live?"
with Memory(model, home=folder / "home") as memory:
    memory.add(pairs=[(question, "Lyon")], user_id="ana")
    memory.export(folder / "ana.jsonl", user_id="ana")  # pairs, in the order in which they were told
    memory.export(folder / "adapter", format="peft", user_id="ana")

with Memory(model, home=folder / "other") as other:
    receipt = other.import_(folder / "ana.jsonl", user_id="ana")  # the same weights, bit for bit
    print("imported:", len(receipt.pairs), "pair; answer:", other.ask(question, user_id="ana").text)

adapted = PeftModel.from_pretrained(model.hf, folder / "adapter")
prompt = torch.tensor([model.bare(question)])  # the bare question; whether to ask the memory at all, a gate decides
reply = adapted.generate(prompt, max_new_tokens=8, do_sample=False, eos_token_id=list(model.stop_ids))
print("PEFT:", model.tokenizer.decode(reply[0, prompt.shape[1] :], skip_special_tokens=True).strip())
