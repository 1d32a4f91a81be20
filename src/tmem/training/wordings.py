"""The persona world's ``wordings.json``: ``python -m tmem.training.wordings FILE...``.

Only seen wordings and seen names are in it: what evaluation asks, and of whom, stays unseen.
"""

from __future__ import annotations

import sys
from typing import Any

from tmem.files import write_json
from tmem.tasks.persona import lexicon as lx
from tmem.texts import NO_INFORMATION

SEEN_ASKS = lx.ASK[:-1]  # the first is the one that extraction writes


def persona_wordings() -> dict[str, Any]:
    """The groups of the persona world, as :class:`tmem.model.wordings.Wordings` reads them."""
    groups: list[dict[str, Any]] = []
    for attribute in lx.ATTRIBUTES:
        asks = [ask.replace("{noun}", attribute.noun) for ask in SEEN_ASKS] + list(attribute.asks[:-1])
        groups.append({"asks": asks, "clue": f"One of them {attribute.who}."})
    for base, past in lx.EVENTS:
        groups.append({"asks": [a.replace("{base}", base).replace("{past}", past) for a in lx.EVENT_ASK[:-1]]})
    for thing, *occasions in lx.TRAITS:
        follows = [ask.replace("{occasion}", occasion) for occasion in occasions for ask in lx.OPEN_ASK[:-1]]
        asks = [ask.replace("{thing}", thing) for ask in lx.TRAIT_ASK]
        answers = {"loves it": "Likely yes", "dislikes it": "Likely no"}
        groups.append({"asks": asks, "follows": follows, "answers": answers})
    return {"refusal": NO_INFORMATION, "strangers": list(lx.seen(lx.NAMES)), "groups": groups}


if __name__ == "__main__":
    for path in sys.argv[1:]:
        write_json(path, persona_wordings())
