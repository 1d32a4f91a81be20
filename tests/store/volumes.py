"""How much is tried: little in every run of the tests, and all of it in ``make torture``, which prints the figures."""

from __future__ import annotations

import os

TORTURE = bool(os.environ.get("TMEM_TORTURE"))
FIGURES: list[str] = []


def volume(small: int, full: int) -> int:
    return full if TORTURE else small


def figure(text: str) -> None:
    """A line of the table that is printed in the end."""
    FIGURES.append(text)
