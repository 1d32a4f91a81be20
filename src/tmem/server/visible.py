"""What of a text that is being written can be shown already, so that nothing shown has to be taken back."""

from __future__ import annotations

from collections.abc import Sequence

HALF = "\ufffd"  # what the first bytes of a character are decoded as
OPEN, CLOSE = "<think>", "</think>"


def visible(text: str, stops: Sequence[str] = (), ended: bool = False, thinking: bool = False) -> tuple[str, bool]:
    """The part of ``text`` to be shown, and whether a stop text ended it.

    Shown is everything but thoughts, white space at both ends, and what begins with the stop text that is complete
    first. While it has not ``ended``, its last characters wait if what follows could make a thought, a stop text, white
    space at the end or another character of them: what is shown only ever grows. ``thinking``: the prompt began a
    thought.
    """
    if not ended:
        text = text.rstrip(HALF)
    said = without_thoughts(text, ended, thinking).lstrip()
    ends = [(at + len(stop), at) for stop in stops if (at := said.find(stop)) >= 0]
    if ends:
        return said[: min(ends)[1]], True
    if ended:
        return said.rstrip(), False
    kept = max((_begun(said, stop) for stop in stops), default=0)
    return said[: len(said) - kept].rstrip(), False


def without_thoughts(text: str, ended: bool, thinking: bool) -> str:
    """A text without its thoughts, complete or begun; while it goes on also without what may begin one."""
    parts = []
    if thinking:
        text = text.partition(CLOSE)[2]
    while True:
        before, opened, rest = text.partition(OPEN)
        parts.append(before)
        if not opened:
            break
        text = rest.partition(CLOSE)[2]
    said = "".join(parts)
    return said if ended else said[: len(said) - _begun(parts[-1], OPEN)]


def _begun(text: str, what: str) -> int:
    """How many characters at the end of ``text`` begin ``what``."""
    return next((count for count in range(min(len(what) - 1, len(text)), 0, -1) if text.endswith(what[:count])), 0)
