"""How answers are scored: every convention that numbers of this field were published under, beside each other.

``tmem_token``       token F1 and exact match, as TMEM reports them; plainer than LoCoMo's own scorer
``locomo_official``  LoCoMo's own (task_eval/evaluation.py): Porter stems, no articles, rules by category
``amem_set``         A-MEM's: F1 over sets of words
``mem1``             MEM1's for several questions at once: as many answers as questions, or nothing counts
``ordered_list``     the same questions as TMEM reads them: the mean over positions, a missing answer is wrong
``squad``            SQuAD's own: F1 and exact match of words, without articles
``said``             for replies in sentences: whether the gold's words stand in it in a row, and how many of them do
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tmem.errors import DataError, UsageError
from tmem.tasks.base import Gold
from tmem.tasks.locomo import ADVERSARIAL, KINDS

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


def token_f1(predicted: Iterable[str], expected: Iterable[str]) -> float:
    """Harmonic mean of precision and recall over tokens, counted with repeats; 0.0 if none is shared."""
    ours, theirs = Counter(predicted), Counter(expected)
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def _answers(gold: Gold) -> list[str]:
    """The accepted answers to a single question. Raises :class:`DataError` for a gold of several questions."""
    answers = [answer for answer in gold if isinstance(answer, str)]
    if len(answers) != len(gold):
        raise DataError("the gold is that of several questions at once; score it by mem1 or ordered_list")
    return answers


# ---- tmem_token ----


def normalize(text: str) -> str:
    """Lower-case, delete ASCII punctuation (no space put in its place), collapse white space."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def exact_match(prediction: str, gold: str) -> float:
    """1.0 if both are the same once normalized, else 0.0."""
    return float(normalize(prediction) == normalize(gold))


def f1(prediction: str, gold: str) -> float:
    """F1 over normalized tokens, counted with repeats; 0.0 to 1.0, and 1.0 if neither side has any."""
    predicted, expected = normalize(prediction).split(), normalize(gold).split()
    return token_f1(predicted, expected) if predicted or expected else 1.0


def tmem_token(prediction: str, gold: Gold, category: Category = None) -> Score:
    """The best over the accepted answers; the category does not matter."""
    answers = _answers(gold)
    return Score(max(f1(prediction, a) for a in answers), max(exact_match(prediction, a) for a in answers))


# ---- locomo_official ----

MULTI_HOP, OPEN = 1, 3
_NUMBERS = {name: number for number, kind in KINDS.items() for name in (str(number), kind)}
_REFUSALS = ("no information available", "not mentioned")
_DROPPED_WORDS = re.compile(r"\b(a|an|the|and)\b")


def locomo_category(category: Category) -> int | None:
    """The number, 1 to 5, of a category given as number or name; None for any other."""
    return _NUMBERS.get(str(category).strip().lower())


def official_words(text: str) -> list[str]:
    """The words of a text without its punctuation and a, an, the, and."""
    return _DROPPED_WORDS.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def official_stems(text: str) -> list[str]:
    """The Porter stems of those words. Raises :class:`UsageError` without the extra ``eval``."""
    return [_stem(word) for word in official_words(text)]


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


def locomo_official(prediction: str, gold: Gold, category: Category = None) -> Score:
    """F1 over stems, by category; exact match, which LoCoMo has but does not report, is equality of the sets of words.

    1 (multi-hop): over the gold's comma-separated parts the mean of the best predicted part. 3 (open): the gold before
    its first ``;``. 5 (adversarial): 1 if the prediction refuses, whatever the gold. Others and None: plain F1. Raises
    :class:`DataError` for a category that LoCoMo does not have.
    """
    number = locomo_category(category)
    if category is not None and number is None:
        names = ", ".join(f"{number} {name}" for number, name in KINDS.items())
        raise DataError(f"category {category!r:.40} is not one of LoCoMo's: {names}")
    if number == ADVERSARIAL:
        refused = float(any(refusal in prediction.lower() for refusal in _REFUSALS))
        return Score(refused, refused)
    answers = [a.split(";")[0] if number == OPEN else a for a in _answers(gold)]
    score = _parts_f1 if number == MULTI_HOP else _stems_f1
    words = set(official_words(prediction))
    same = any(words == set(official_words(a)) for a in answers)
    return Score(max(score(prediction, a) for a in answers), float(same))


def _stems_f1(prediction: str, gold: str) -> float:
    return token_f1(official_stems(prediction), official_stems(gold))


def _parts_f1(prediction: str, gold: str) -> float:
    predicted, expected = prediction.split(","), gold.split(",")
    return sum(max(_stems_f1(part, wanted) for part in predicted) for wanted in expected) / len(expected)


# ---- amem_set ----

_AMEM_SPACES = str.maketrans(dict.fromkeys(".,!?", " "))


def amem_set(prediction: str, gold: Gold, category: Category = None) -> Score:
    """Exact match of the strings but for case; F1 over sets of words, only ``. , ! ?`` taken as spaces.

    As in A-MEM's utils.py, white space around does not count, and nothing matches an empty answer.
    """
    answers = _answers(gold)
    same = any(prediction.strip().lower() == a.strip().lower() != "" for a in answers)
    return Score(max(token_f1(_amem_words(prediction), _amem_words(a)) for a in answers), float(same))


def _amem_words(text: str) -> set[str]:
    return set(text.lower().translate(_AMEM_SPACES).split())


# ---- several questions at once ----

_ANSWER_TAGS = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def sub_questions(gold: Gold) -> list[tuple[str, ...]]:
    """The accepted answers of each sub-question; a plain text among them is a question with one answer."""
    return [(part,) if isinstance(part, str) else part for part in gold]


def mem1(prediction: str, gold: Gold, category: Category = None) -> Score:
    """MEM1's (inference/eval.py): unless there are as many answers as questions, nothing counts; F1 over sets of words.

    The prediction is ``a; b``, or a text with ``<answer>`` tags, which have to be balanced and of which the last pair
    counts. Punctuation becomes a space.
    """
    golds = sub_questions(gold)
    nothing = Score(0.0, 0.0, len(golds))
    text = prediction.lower()
    opened, closed = text.count("<answer>"), text.count("</answer>")
    if opened != closed or text.rfind("<answer>") > text.rfind("</answer>"):
        return nothing
    if opened:
        text = _ANSWER_TAGS.findall(text)[-1]
    answers = [_spaced(part) for part in text.split(";")]
    if len(answers) != len(golds):
        return nothing
    f1_sum, em_sum = 0.0, 0
    for answer, own in zip(answers, golds, strict=True):
        wanted = [_spaced(accepted) for accepted in own]
        f1_sum += max(token_f1(set(answer.split()), set(other.split())) for other in wanted)
        em_sum += answer in wanted
    return Score(f1_sum / len(golds), em_sum / len(golds), len(golds))


def _spaced(text: str) -> str:
    return " ".join(text.lower().translate(_PUNCTUATION_AS_SPACE).split())


def ordered_list(prediction: str, gold: Gold, category: Category = None) -> Score:
    """TMEM's: answer i against the accepted answers of question i, by ``tmem_token``; the mean over all questions.

    The prediction is ``a; b``, or a text with ``<answer>`` tags, of which the last pair counts.
    """
    golds = sub_questions(gold)
    answers = [part.strip() for part in (_ANSWER_TAGS.findall(prediction) or [prediction])[-1].strip().split(";")]
    scores = [tmem_token(answers[i], own) if i < len(answers) else Score(0.0, 0.0) for i, own in enumerate(golds)]
    return Score(sum(s.f1 for s in scores) / len(golds), sum(s.em for s in scores) / len(golds), len(golds))


# ---- passages ----

_ARTICLES = re.compile(r"\b(a|an|the)\b")


def squad_words(text: str) -> list[str]:
    """The words of a text in lower case, without ASCII punctuation and articles (SQuAD's evaluate-v1.1.py)."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def squad(prediction: str, gold: Gold, category: Category = None) -> Score:
    """The best over the accepted answers."""
    said, golds = squad_words(prediction), [squad_words(answer) for answer in _answers(gold)]
    return Score(max(token_f1(said, own) for own in golds), max(float(said == own) for own in golds))


def said(prediction: str, gold: Gold, category: Category = None) -> Score:
    """``em``: all words of an accepted answer stand in the reply, in a row; ``f1``: the share of them that is there.

    For replies in whole sentences, which SQuAD's measures punish for every word that is not the answer.
    """
    words = squad_words(prediction)
    best = Score(0.0, 0.0)
    for own in (squad_words(answer) for answer in _answers(gold)):
        if own:
            shared = (Counter(words) & Counter(own)).total() / len(own)
            whole = any(words[at : at + len(own)] == own for at in range(len(words) - len(own) + 1))
            best = max(best, Score(shared, float(whole)), key=lambda score: (score.em, score.f1))
    return best


SCORERS: dict[str, Scorer] = {
    "tmem_token": tmem_token,
    "locomo_official": locomo_official,
    "amem_set": amem_set,
    "mem1": mem1,
    "ordered_list": ordered_list,
    "squad": squad,
    "said": said,
}


def scorer(name: str) -> Scorer:
    """The scorer of that name. Raises :class:`UsageError` for another one."""
    if name not in SCORERS:
        raise UsageError(f"unknown scorer '{name}': there are {', '.join(SCORERS)}")
    return SCORERS[name]
