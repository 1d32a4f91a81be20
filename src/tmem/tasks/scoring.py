"""The scorer ``tmem_token``: token F1 and exact match, as the paper reports them.

Plainer than LoCoMo's own scorer: no article removal, no stemming, no splitting at commas, no rule for ``;``.
"""

from __future__ import annotations

import string
from collections import Counter

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Lower-case, delete ASCII punctuation (no space put in its place), collapse white space."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def exact_match(prediction: str, gold: str) -> float:
    """1.0 if both are the same once normalized, else 0.0."""
    return float(normalize(prediction) == normalize(gold))


def f1(prediction: str, gold: str) -> float:
    """Harmonic mean of precision and recall over normalized tokens, counted with repeats; 0.0 to 1.0.

    If one side has no tokens the score is 1.0 when the other has none either, else 0.0.
    """
    predicted, expected = normalize(prediction).split(), normalize(gold).split()
    if not predicted or not expected:
        return float(predicted == expected)
    shared = (Counter(predicted) & Counter(expected)).total()
    # 2PR / (P + R) with P = shared / |predicted| and R = shared / |expected|
    return 2 * shared / (len(predicted) + len(expected))
