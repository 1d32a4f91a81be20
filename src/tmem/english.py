"""What an English question asks about: who speaks, or what a text says?"""

from __future__ import annotations

import re

from tmem.texts import words

_OWN = re.compile(
    r"\b(?:my|our(?! (?:solar|planet|moon|sun|galaxy|world|universe)))\b|^M[yY]\b|"
    r"\b(?:[Aa]m|[Ww]as|[Dd]o|[Dd]id|[Hh]ave|[Hh]ad|[Ww]ere|[Aa]re|[Ww]ill|where|when|what|which|whom) (?:I|i|we)\b"
)
_TELL = re.compile(r"(?:(?:can|could|would|will) you )?(?:please )?(?:tell|remind) me\b|do you know\b", re.IGNORECASE)
_REQUEST = re.compile(
    r"\b(?:how (?:do|can|could|should|would|to)|(?:should|shall|could|can|may|might|would|must) (?:i|we|you)|will you|"
    r"do (?:i|we) (?:need|have to)|(?:long|much|often) do (?:i|we)|if (?:i|we|my|our)|best way|good (?:for|way|idea)|"
    r"please|help|recommend|suggest|explain|(?:a|an|the) (?:joke|story|poem)|write|why)\b",
    re.IGNORECASE,
)
_COMMON = frozenset(
    """
    about could does from have know like long make many much need should take tell that their there these they this
    want were what when where which will with would your
    """.split()  # noqa: SIM905
)


def asks_of_oneself(question: str) -> bool:
    """Whether a question asks for a fact of the life of who speaks, and not for advice."""
    return bool(_OWN.search(question)) and not _REQUEST.search(_TELL.sub("", question))


def speaks_of(question: str, text: str) -> bool:
    """Whether a word of a question, and no common one, stands in a text."""
    return any(len(word) > 3 for word in (words(question) & words(text)) - _COMMON)
