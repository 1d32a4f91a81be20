import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmem.tasks.scoring import exact_match, f1, normalize


@pytest.mark.parametrize(
    ("prediction", "gold", "expected_f1", "expected_em"),
    [
        ("May 7, 2023", "7 May 2023", 1.0, 0),
        ("The Sunday before May 25", "The sunday before 25 May 2023", 0.9091, 0),
        ("pottery, camping", "pottery, camping, painting, swimming", 0.6667, 0),
        ("Pottery and camping", "pottery, camping", 0.8, 0),
        ("Yes", "Yes; it's classical music", 0.4, 0),
        ("Likely no", "LIkely no; though she likes reading, she wants to be a counselor", 0.2857, 0),
        ("running charity races", "She runs a charity race", 0.25, 0),
        ("The beach", "beach", 0.6667, 0),
        ("mental-health", "mental health", 0.0, 0),
        ("2", "2", 1.0, 1),
        ("No information available", "No information available", 1.0, 1),
        ("Not mentioned in the conversation", "No information available", 0.0, 0),
        ("", "beach", 0.0, 0),
        ("beach", "?!", 0.0, 0),
        ("...", "", 1.0, 1),
        ("the the beach", "the beach", 0.8, 0),  # repeats count
    ],
)
def test_vectors(prediction: str, gold: str, expected_f1: float, expected_em: int):
    assert f1(prediction, gold) == pytest.approx(expected_f1, abs=5e-5)
    assert exact_match(prediction, gold) == expected_em


def test_normalize_touches_case_punctuation_and_white_space_only():
    assert normalize("  The\tCat's (2nd)\u00a0toy, and\nall!  ") == "the cats 2nd toy and all"


@given(st.text(), st.text())
def test_bounds_and_symmetry(one: str, other: str):
    assert 0.0 <= f1(one, other) == f1(other, one) <= 1.0
    assert f1(one, one) == exact_match(one, one) == 1.0
    assert exact_match(one, other) <= f1(one, other)
