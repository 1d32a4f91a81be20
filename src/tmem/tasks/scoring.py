"""How answers are scored: every convention that numbers of this field were published under, beside each other.

``tmem_token``       token F1 and exact match, as TMEM reports them; plainer than LoCoMo's own scorer
``locomo_official``  LoCoMo's own (task_eval/evaluation.py): Porter stems, no articles, rules by category
``amem_set``         A-MEM's: F1 over sets of words
``mem1``             MEM1's for several questions at once: an answer to each or nothing counts
``ordered_list``     the same questions as TMEM reads them: the mean over positions, a missing answer is wrong
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tmem.errors import DataError, UsageError

Gold = tuple[str, ...] | tuple[tuple[str, ...], ...]
Category = str | int | None


@dataclass(frozen=True)
class Score:
    """Both between 0 and 1. MEM1 reports sums over the sub-questions instead: times ``parts``."""

    f1: float
    em: float
    parts: int = 1


Scorer = Callable[[str, Gold, Category], Score]
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_PUNCTUATION_AS_SPACE = str.maketrans(dict.fromkeys(string.punctuation, " "))


def f_measure(shared: int, predicted: int, expected: int) -> float:
    """Harmonic mean of precision and recall; without tokens on a side 1.0 if the other has none either, else 0.0."""
    if not predicted or not expected:
        return float(predicted == expected)
    return 2 * shared / (predicted + expected)


def _aliases(gold: Gold) -> tuple[str, ...]:
    """The accepted answers to a single question."""
    return tuple(part if isinstance(part, str) else "; ".join(part[:1]) for part in gold)


# ---- tmem_token ----


def normalize(text: str) -> str:
    """Lower-case, delete ASCII punctuation (no space put in its place), collapse white space."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def exact_match(prediction: str, gold: str) -> float:
    """1.0 if both are the same once normalized, else 0.0."""
    return float(normalize(prediction) == normalize(gold))


def f1(prediction: str, gold: str) -> float:
    """F1 over normalized tokens, counted with repeats; 0.0 to 1.0."""
    return _bag_f1(normalize(prediction).split(), normalize(gold).split())


def _bag_f1(predicted: Sequence[str], expected: Sequence[str]) -> float:
    return f_measure((Counter(predicted) & Counter(expected)).total(), len(predicted), len(expected))


def tmem_token(prediction: str, gold: Gold, category: Category = None) -> Score:
    """The best over the accepted answers; the category does not matter."""
    answers = _aliases(gold)
    return Score(max(f1(prediction, a) for a in answers), max(exact_match(prediction, a) for a in answers))


# ---- locomo_official ----

LOCOMO_CATEGORIES = {"multi-hop": 1, "temporal": 2, "open": 3, "single-hop": 4, "adversarial": 5}
_REFUSALS = ("no information available", "not mentioned")
_DROPPED_WORDS = re.compile(r"\b(a|an|the|and)\b")


def official_tokens(text: str) -> list[str]:
    """Stems of a text without commas, punctuation and the words a, an, the, and. Needs the extra ``eval``."""
    text = text.replace(",", "").lower().translate(_NO_PUNCTUATION)
    return [_stem(word) for word in _DROPPED_WORDS.sub(" ", text).split()]


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return str(_stemmer().stem(word))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    try:
        from nltk.stem import PorterStemmer
    except ImportError:
        raise UsageError("LoCoMo's own scorer needs the extra eval: pip install 'tmem[eval]'") from None
    return PorterStemmer()


def _official_f1(prediction: str, gold: str) -> float:
    predicted, expected = official_tokens(prediction), official_tokens(gold)
    return _bag_f1(predicted, expected) if predicted and expected else 0.0  # nothing shared is 0, also of nothing


def locomo_official(prediction: str, gold: Gold, category: Category = None) -> Score:
    """F1 by category; its exact match, which LoCoMo does not report, is equality of the sets of tokens.

    1 (multi-hop): over the gold's comma-separated parts the mean of the best predicted part. 3 (open): the gold before
    its first ``;``. 5 (adversarial): 1 if the prediction refuses, whatever the gold. Others: plain F1. Raises
    :class:`DataError` for another category.
    """
    number = _locomo_category(category)
    if number == 5:
        refused = float(any(refusal in prediction.lower() for refusal in _REFUSALS))
        return Score(refused, refused)
    answers = [a.split(";")[0] if number == 3 else a for a in _aliases(gold)]
    scores = [_official_parts(prediction, a) if number == 1 else _official_f1(prediction, a) for a in answers]
    sets = [set(official_tokens(prediction)) == set(official_tokens(a)) for a in answers]
    return Score(max(scores), float(any(sets)))


def _official_parts(prediction: str, gold: str) -> float:
    predicted, expected = prediction.split(","), gold.split(",")
    return sum(max(_official_f1(part, wanted) for part in predicted) for wanted in expected) / len(expected)


def _locomo_category(category: Category) -> int | None:
    if category is None:
        return None
    text = str(category).strip().lower()
    number = LOCOMO_CATEGORIES.get(text) or (int(text) if text.isdecimal() else 0)
    if number not in LOCOMO_CATEGORIES.values():
        names = ", ".join(f"{value} {name}" for name, value in LOCOMO_CATEGORIES.items())
        raise DataError(f"category {category!r} is not one of LoCoMo's: {names}")
    return number


# ---- amem_set ----

_AMEM_SPACES = str.maketrans(dict.fromkeys(".,!?", " "))


def amem_set(prediction: str, gold: Gold, category: Category = None) -> Score:
    """Exact match of the strings but for case; F1 over sets of words, only ``. , ! ?`` taken as spaces."""
    answers = _aliases(gold)
    predicted = set(prediction.lower().translate(_AMEM_SPACES).split())
    scores = []
    for answer in answers:
        expected = set(answer.lower().translate(_AMEM_SPACES).split())
        scores.append(f_measure(len(predicted & expected), len(predicted), len(expected)) if predicted else 0.0)
    return Score(max(scores), float(any(prediction.strip().lower() == a.strip().lower() for a in answers)))


# ---- several questions at once ----

_ANSWER_TAGS = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def sub_questions(gold: Gold) -> list[tuple[str, ...]]:
    """The accepted answers of each sub-question; a plain text among them is a question with one answer."""
    return [(part,) if isinstance(part, str) else part for part in gold]


def mem1(prediction: str, gold: Gold, category: Category = None) -> Score:
    """MEM1's evaluation: unless there are as many answers as questions, nothing counts; F1 over sets of words.

    The prediction is ``a; b`` or a text with ``<answer>`` tags, of which the last pair counts and which have to be
    balanced. Punctuation becomes a space.
    """
    golds = sub_questions(gold)
    text = prediction.lower()
    if "<answer>" in text or "</answer>" in text:
        found = _ANSWER_TAGS.findall(text)
        if text.count("<answer>") != text.count("</answer>") or not found:
            return Score(0.0, 0.0, len(golds))
        text = found[-1]
    answers = [_spaced(part) for part in text.split(";")]
    if len(answers) != len(golds):
        return Score(0.0, 0.0, len(golds))
    f1s, ems = 0.0, 0.0
    for answer, own in zip(answers, golds, strict=True):
        wanted = [_spaced(alias) for alias in own]
        ems += answer in wanted
        f1s += max(_set_f1(answer, alias) for alias in wanted)
    return Score(f1s / len(golds), ems / len(golds), len(golds))


def _spaced(text: str) -> str:
    return " ".join(text.lower().translate(_PUNCTUATION_AS_SPACE).split())


def _set_f1(prediction: str, gold: str) -> float:
    predicted, expected = set(prediction.split()), set(gold.split())
    return f_measure(len(predicted & expected), len(predicted), len(expected))


def ordered_list(prediction: str, gold: Gold, category: Category = None) -> Score:
    """TMEM's: answer i against the accepted answers of question i, by ``tmem_token``; the mean over all questions."""
    golds = sub_questions(gold)
    answers = [part.strip() for part in prediction.strip().split(";")]
    scores = [tmem_token(answers[i], own) if i < len(answers) else Score(0.0, 0.0) for i, own in enumerate(golds)]
    return Score(sum(s.f1 for s in scores) / len(golds), sum(s.em for s in scores) / len(golds), len(golds))


SCORERS: dict[str, Scorer] = {
    "tmem_token": tmem_token,
    "locomo_official": locomo_official,
    "amem_set": amem_set,
    "mem1": mem1,
    "ordered_list": ordered_list,
}


def scorer(name: str) -> Scorer:
    """The scorer of that name. Raises :class:`UsageError` for another one."""
    if name not in SCORERS:
        raise UsageError(f"unknown scorer '{name}': there are {', '.join(SCORERS)}")
    return SCORERS[name]
