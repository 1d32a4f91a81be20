"""What was said as the text that an extraction reads: who said it, when, and what it follows on."""

from __future__ import annotations

from collections.abc import Sequence

from tmem.dates import Moment, spoken
from tmem.texts import is_none

ASKED_BACK = "assistant: I do not know. "  # before a question, for what was said next to be its answer


def session(lines: Sequence[tuple[str, str]], when: Moment | None, before: str = "") -> str:
    """What was said, (name or "", text) each, as the text of a session, dated if it is known when.

    ``before``: what it follows on.
    """
    told = "\n".join(f'{name} said, "{text}"' if name else text for name, text in lines)
    if before and told:
        turns = before.rpartition("\n")[2].startswith(("user: ", "assistant: ")) and not lines[0][0]
        told = f"{before}\nuser: {told}" if turns else f"{before}\n\n{told}"
    return f"DATE: {spoken(when)}\nCONVERSATION:\n{told}" if when and told else told


def context(turns: Sequence[tuple[str, str]]) -> str:
    """The last exchange of turns, (role, text) each, as lines that a session follows on.

    A question that was refused is asked back, so that what is said next is its answer.
    """
    last = turns[-2:]
    if len(last) == 2 and is_none(last[1][1]):
        return f"{ASKED_BACK}{last[0][1]}"
    return "\n".join(f"{role}: {text}" for role, text in last)
