"""Every scorer against vectors that were computed by an independent implementation, and against its properties."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmem.errors import DataError, UsageError
from tmem.tasks import locomo
from tmem.tasks.scoring import (
    SCORERS,
    Score,
    _stemmer,
    amem_set,
    exact_match,
    f1,
    locomo_official,
    mem1,
    normalize,
    official_stems,
    official_words,
    ordered_list,
    scorer,
    tmem_token,
)

# category, prediction, gold; official, tmem F1, tmem EM, A-MEM F1 (its EM is 1 for "2" alone; None: not defined)
VECTORS = [
    (2, "May 7, 2023", "7 May 2023", 1.0, 1.0, 0, 1.0),
    (2, "The Sunday before May 25", "The sunday before 25 May 2023", 0.8889, 0.9091, 0, 0.9091),
    (1, "pottery, camping", "pottery, camping, painting, swimming", 0.5, 0.6667, 0, 0.6667),
    (1, "Pottery and camping", "pottery, camping", 0.6667, 0.8, 0, 0.8),
    (3, "Yes", "Yes; it's classical music", 1.0, 0.4, 0, 0.0),
    (3, "Likely no", "LIkely no; though she likes reading, she wants to be a counselor", 1.0, 0.2857, 0, 0.1538),
    (4, "running charity races", "She runs a charity race", 0.8571, 0.25, 0, 0.25),
    (4, "The beach", "beach", 1.0, 0.6667, 0, 0.6667),
    (4, "mental-health", "mental health", 0.0, 0.0, 0, 0.0),
    (1, "2", "2", 1.0, 1.0, 1, 1.0),
    (5, "No information available", "No information available", 1.0, 1.0, 1, None),
    (5, "Not mentioned in the conversation", "No information available", 1.0, 0.0, 0, None),
    (4, "", "beach", 0.0, 0.0, 0, 0.0),
]


@pytest.mark.parametrize(("category", "prediction", "gold", "official", "token_f1", "token_em", "amem_f1"), VECTORS)
def test_vectors(
    category: int, prediction: str, gold: str, official: float, token_f1: float, token_em: int, amem_f1: float | None
) -> None:
    assert locomo_official(prediction, (gold,), category).f1 == pytest.approx(official, abs=5e-5)
    token = tmem_token(prediction, (gold,), category)
    assert (token.f1, token.em) == (pytest.approx(token_f1, abs=5e-5), token_em)
    assert (f1(prediction, gold), exact_match(prediction, gold)) == (token.f1, token.em)
    if amem_f1 is not None:
        found = amem_set(prediction, (gold,), category)
        assert (found.f1, found.em) == (pytest.approx(amem_f1, abs=5e-5), token_em)


@pytest.mark.parametrize(
    ("prediction", "gold", "expected_f1", "expected_em"),
    [("beach", "?!", 0.0, 0), ("...", "", 1.0, 1), ("the the beach", "the beach", 0.8, 0)],  # repeats count
)
def test_token_edge_cases(prediction: str, gold: str, expected_f1: float, expected_em: int) -> None:
    assert f1(prediction, gold) == pytest.approx(expected_f1, abs=5e-5)
    assert exact_match(prediction, gold) == expected_em


def test_normalize_touches_case_punctuation_and_white_space_only() -> None:
    assert normalize("  The\tCat's (2nd)\u00a0toy, and\nall!  ") == "the cats 2nd toy and all"


# ---- locomo_official ----


def test_porter_stems_are_nltk_s() -> None:
    words = "running races happily dying counseling necklaces university skies"
    assert official_stems(words) == ["run", "race", "happili", "die", "counsel", "necklac", "univers", "sky"]


def test_official_words_lose_articles_and_the_word_and_but_not_parts_of_words() -> None:
    assert official_words("The band, and an anthem: a 1,000 theatre") == ["band", "anthem", "1000", "theatre"]


def test_without_nltk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk.stem", None)
    _stemmer.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'tmem\[eval\]'"):
        locomo_official("a word that no other test has stemmed: xyzzy", ("beach",), 4)


def test_official_rules_by_category() -> None:
    assert locomo_official("swimming", ("painting, swimming",), 1).f1 == 0.5  # mean over the gold's parts
    assert locomo_official("swimming", ("painting, swimming",), 4).f1 == pytest.approx(2 / 3)
    assert locomo_official("yes", ("Yes; because",), 3).f1 == 1.0 > locomo_official("yes", ("Yes; because",), 4).f1
    assert locomo_official("I think it is NOT MENTIONED there", ("whatever",), "adversarial").em == 1.0
    assert locomo_official("the red one", ("No information available",), 5).f1 == 0.0
    assert locomo_official("camping, the pottery", ("pottery and camping, camping",), 2).em == 1.0  # sets of words
    assert locomo_official("races", ("race",), 4) == Score(1.0, 0.0)  # exact match knows no stems
    assert locomo_official("yes", ("Yes; because",), 3).em == 1.0
    assert locomo_official("", ("",), 4).f1 == 0.0  # nothing shared
    question = "x, y", ("y; z, x",)
    for name, number in (("multi-hop", 1), ("temporal", 2), ("open", 3), ("Single-hop ", 4), ("2", 2), (None, 4)):
        assert locomo_official(*question, name) == locomo_official(*question, number)
    assert len({locomo_official(*question, number).f1 for number in (1, 3, 4, 5)}) == 4


@pytest.mark.parametrize("category", [0, 6, "multi", "", "None", -1, "9" * 5000])
def test_an_unknown_category_is_named(category: int | str) -> None:
    with pytest.raises(DataError, match=r"is not one of LoCoMo's: 1 multi-hop, .*, 5 adversarial") as error:
        locomo_official("a", ("a",), category)
    assert len(str(error.value)) < 150


# ---- amem_set ----


def test_amem_takes_four_marks_as_spaces_and_matches_strings() -> None:
    assert amem_set("Red,blue. GREEN!", ("green blue red",)) == Score(1.0, 0.0)
    assert amem_set(" The Beach ", ("the beach",)) == Score(1.0, 1.0)
    assert amem_set("mother-in-law's", ("mother in law's",)) == Score(0.0, 0.0)
    assert amem_set("...", ("...",)) == Score(0.0, 1.0)  # equal strings without words
    assert amem_set("", ("",)) == Score(0.0, 0.0)


# ---- several questions at once ----


@pytest.mark.parametrize(
    ("prediction", "gold", "f1_sum", "em_sum"),
    [
        ("Paris; Albert Einstein", (("Paris",), ("Einstein", "Albert Einstein")), 2.0, 2.0),
        ("the Paris; Einstein A.", (("Paris",), ("Albert Einstein",)), 1.1667, 0),
        ("Paris", (("Paris",), ("Albert Einstein",)), 0, 0),
        ("J.R.R. Tolkien; 1,954", (("J. R. R. Tolkien",), ("1954",)), 1.0, 1.0),
        ("<answer>x</answer> so <answer> Paris; y </answer>", (("Paris",), ("y",)), 2.0, 2.0),  # the last one counts
        ("<answer>Paris; y", (("Paris",), ("y",)), 0, 0),  # unbalanced
        ("</answer>Paris; y<answer>", (("Paris",), ("y",)), 0, 0),
        ("<answer>Paris; y</answer></answer><answer>", (("Paris",), ("y",)), 0, 0),  # as many, but not in pairs
        ("<think>Rome?</think>\n<Answer>\nParis;\ny</ANSWER>", (("Paris",), ("y",)), 2.0, 2.0),
        ("Paris; y;", (("Paris",), ("y",)), 0, 0),  # three answers
        ("a a b", (("a b",),), 1.0, 0),  # sets
        ("; y", (("",), ("y",)), 1.0, 2.0),  # F1 of nothing is 0
    ],
)
def test_mem1_vectors(prediction: str, gold: tuple[tuple[str, ...], ...], f1_sum: float, em_sum: float) -> None:
    found = mem1(prediction, gold)
    assert found.parts == len(gold)
    assert found.f1 * found.parts == pytest.approx(f1_sum, abs=5e-5)
    assert found.em * found.parts == pytest.approx(em_sum, abs=5e-5)


def test_ordered_list_counts_positions_misses_and_ignores_what_is_too_much() -> None:
    gold = (("Paris",), ("Einstein", "Albert Einstein"), ("1954",))
    assert ordered_list(" Paris ;albert einstein; 1,954 ", gold).em == 1.0
    assert ordered_list("Paris", gold).em == pytest.approx(1 / 3)
    assert ordered_list("Albert Einstein; Paris; 1954", gold).em == pytest.approx(1 / 3)
    assert ordered_list("Paris; Einstein; 1954; more; and more", gold).f1 == 1.0
    assert ordered_list("", gold).f1 == 0.0


@pytest.mark.parametrize("name", ["tmem_token", "locomo_official", "amem_set"])
def test_a_gold_of_several_questions_needs_another_scorer(name: str) -> None:
    with pytest.raises(DataError, match="score it by mem1 or ordered_list"):
        SCORERS[name]("Paris; Rome", (("Paris",), ("Rome",)), None)


# ---- properties ----

TEXT = st.text(alphabet="ab ,.;'The1", max_size=30)
GOLDS = st.lists(TEXT, min_size=1, max_size=3).map(tuple)
NESTED = st.lists(GOLDS, min_size=1, max_size=4).map(tuple)
ANSWER = st.text(alphabet="ab ,.'T1", max_size=12)  # without semicolons


@given(TEXT, TEXT)
def test_token_scores_are_symmetric_and_bounded(one: str, other: str) -> None:
    assert 0.0 <= f1(one, other) == f1(other, one) <= 1.0
    assert f1(one, one) == exact_match(one, one) == 1.0
    assert exact_match(one, other) <= f1(one, other)


@given(st.sampled_from(sorted(SCORERS)), TEXT, GOLDS, NESTED, st.sampled_from([1, 2, 3, 4, 5, None]))
def test_every_score_is_between_0_and_1(
    name: str, prediction: str, gold: tuple[str, ...], nested: tuple[tuple[str, ...], ...], category: int | None
) -> None:
    several = name in ("mem1", "ordered_list")
    found = SCORERS[name](prediction, nested if several else gold, category)
    assert 0.0 <= found.f1 <= 1.0 and 0.0 <= found.em <= 1.0
    assert found.parts == (len(nested) if several else 1)


@given(st.sampled_from(["tmem_token", "locomo_official", "amem_set"]), TEXT, GOLDS, st.sampled_from([1, 2, 3, 4]))
def test_of_several_accepted_answers_the_best_counts(
    name: str, prediction: str, gold: tuple[str, ...], category: int
) -> None:
    alone = [SCORERS[name](prediction, (answer,), category) for answer in gold]
    found = SCORERS[name](prediction, gold, category)
    assert (found.f1, found.em) == (max(s.f1 for s in alone), max(s.em for s in alone))


@given(st.lists(st.sampled_from(["red", "Blue", "x-y", "2"]), min_size=1), st.randoms())
def test_amem_knows_neither_order_nor_repeats(words: list[str], random: Random) -> None:
    shuffled = random.sample(words, len(words))
    assert amem_set(" ".join(words), (" ".join([*shuffled, *words]),)).f1 == 1.0


@given(st.lists(ANSWER, min_size=1, max_size=4), TEXT)
def test_a_list_of_its_own_golds_is_right_and_only_mem1_minds_what_is_too_much(answers: list[str], more: str) -> None:
    gold, own = tuple((answer,) for answer in answers), ";".join(answers)
    assert mem1(own, gold).em == 1.0
    assert ordered_list(own, gold).em == 1.0
    assert ordered_list(f"{own};{more}", gold) == ordered_list(own, gold)
    assert mem1(f"{own};{more}", gold) == Score(0.0, 0.0, len(gold))


@pytest.mark.parametrize(
    ("prediction", "golds", "squad_f1", "squad_em", "said_f1", "said_em"),
    [
        ("The Broncos", ("Broncos",), 1, 1, 1, 1),
        ("It was won by the Denver Broncos, in 2016.", ("Denver Broncos",), 0.4, 0, 1, 1),
        ("Denver had it; Broncos.", ("Denver Broncos",), 2 / 3, 0, 1, 0),
        ("Denver", ("Denver Broncos", "Carolina"), 2 / 3, 0, 0.5, 0),
        ("Carolina", ("Denver Broncos", "Carolina"), 1, 1, 1, 1),
        ("", ("Broncos",), 0, 0, 0, 0),
        ("the", ("a",), 0, 1, 0, 0),  # nothing is left of either: SQuAD's script calls that equal
    ],
)
def test_passages_are_scored_by_squads_words_and_by_what_a_sentence_says(
    prediction: str, golds: tuple[str, ...], squad_f1: float, squad_em: float, said_f1: float, said_em: float
) -> None:
    assert scorer("squad")(prediction, golds) == Score(pytest.approx(squad_f1), squad_em)
    assert scorer("said")(prediction, golds) == Score(pytest.approx(said_f1), said_em)


def test_an_unknown_scorer_is_named() -> None:
    with pytest.raises(UsageError, match="unknown scorer 'f2': there are tmem_token, locomo_official"):
        scorer("f2")


# ---- the real file ----

REAL = Path(os.environ.get("TMEM_LOCOMO", Path(__file__).parents[3] / "shared" / "data" / "locomo10.json"))


@pytest.mark.skipif(not REAL.is_file(), reason=f"no {REAL}; set TMEM_LOCOMO to locomo10.json")
def test_known_scores_of_the_real_file() -> None:
    items = [item for task in locomo.LoCoMo(REAL, official=True).tasks(1) for item in task.items]

    def total(name: str, prediction: str | None = None, kind: str | None = None) -> tuple[float, float]:
        own = [item for item in items if kind in (None, item.category)]
        found = [SCORERS[name](prediction or str(item.gold[0]), item.gold, item.category) for item in own]
        return 100 * sum(s.f1 for s in found) / len(found), 100 * sum(s.em for s in found) / len(found)

    assert len(items) == 1986
    assert total("locomo_official")[0] == pytest.approx(99.65, abs=0.005)
    assert total("locomo_official", kind="open")[0] == pytest.approx(92.74, abs=0.005)
    assert total("locomo_official", "No information available")[0] == pytest.approx(22.80, abs=0.005)
    assert total("tmem_token", "No information available") == pytest.approx((22.73, 22.46), abs=0.005)
    assert total("locomo_official", "Yes")[0] == pytest.approx(1.11, abs=0.005)
    assert total("tmem_token", "Yes") == pytest.approx((1.00, 0.86), abs=0.005)
