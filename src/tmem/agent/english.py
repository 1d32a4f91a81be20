"""What an English message is: does it lean on what was said before it, agree with that, or ask about who speaks?

A small model that is shown what was said before finds that again instead of what is new (docs/log.md, 2026-12-01), so
it is shown only where the message needs it: "No, it is on Friday", "Pottery.", "She works at the post office".
"""

from __future__ import annotations

import re

from tmem.texts import fold, names

_WORD = re.compile(r"\w+")
# As replies begin: "No, ...", "Actually ...", "Yes".
_OPENS = re.compile(
    r"\W*\b(?:no|nope|nah|not? (?:any ?more|quite|really|at all)|yes|yeah|yep|right|correct|exactly|actually|sorry|"
    r"wait|wrong|oh|well|okay|ok|ah|hm+|"
    r"(?:that|this)(?:['’]s| is| was)(?: (?:not|no longer))? (?:wrong|right|true|correct|it))\b[\s,.!;:–—-]*",
    re.IGNORECASE,
)
_AGREES = re.compile(
    r"\W*\b(?:yes|yeah|yep|right|correct|exactly|sure|of course|"
    r"(?:that|this)(?:['’]s| is) (?:right|true|correct|it))\b",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"(?:i|we|my|our)\b", re.IGNORECASE)
# Where a phrase begins that is no sentence, if little follows it.
_PART = re.compile(
    r"(?:not|to|on|at|in|with|for|since|from|by|until|after|before|about|around|near|next|every|only|just|because|"
    r"both|neither|either|mostly|same|me|so)\b",
    re.IGNORECASE,
)
_SOMEBODY = r"he|she|him|her|his|hers|they|them|their|theirs"
_SOMETHING = (
    r"it|its|there(?! (?:is|are|was|were|will|has|have)\b)|the (?:same|other) one|(?:an?|another)(?: \w+)? one|"
    r"one(?=\W*$| too\b)|(?:do|did|am|have|was|can|would) too|"
    r"(?:that|this|these|those)(?=\W*$|[.,;!?]| (?:is|was|are|were|too|since|now|again|instead|any ?more)\b)"
)
_POINTS = re.compile(rf"\b(?:(?P<somebody>{_SOMEBODY})|(?P<something>{_SOMETHING}))\b", re.IGNORECASE)
_GOES_ON = re.compile(
    r"\b(?:(?<!any )more|again|else|instead|another|continue|shorter|longer|simpler|previous|above|"
    r"you (?:just )?(?:said|say|mean|meant|wrote)|the (?:first|second|third|last|other))\b|^(?:and|but|so|why)\b",
    re.IGNORECASE,
)
_OWN = re.compile(r"\b(?:my|mine|our|ours)\b|\b(?:am|was|do|did|have|had|were|are) (?:i|we)\b", re.IGNORECASE)
_REQUEST = re.compile(
    r"\b(?:how (?:do|can|could|should|would|to)|(?:should|shall|could|can|may|might|would|must) (?:i|we|you)|will you|"
    r"please|help|recommend|suggest|explain|tell me (?:a|an|about)|write|what if|why)\b",
    re.IGNORECASE,
)
_NOUN = re.compile(r"\b(?:my|our|your|the|an?|some|two|three|\w+['’]s)\s+[^\W\d]", re.IGNORECASE)


def leans(message: str) -> bool:
    """Whether a message needs what was said before it: to be read with it, or since it puts something right."""
    return bool(_OPENS.match(message)) or means_another(message)


def asks_of_oneself(question: str) -> bool:
    """Whether a question asks for a fact of the life of who speaks, and not for advice."""
    return bool(_OWN.search(question)) and not _REQUEST.search(question)


def goes_on(message: str) -> bool:
    """Whether a message asks for more of what was said before."""
    return bool(_GOES_ON.search(message))


def agrees(message: str) -> bool:
    """Whether a message says that what was said before is so."""
    return bool(_AGREES.match(message))


def means_another(message: str) -> bool:
    """Whether a message, without how it opens, is a part of a sentence or points at what it does not name."""
    rest = message
    while opening := _OPENS.match(rest):
        rest = rest[opening.end() :]
    length = len(rest.split())
    if (length < 4 and not _SPEAKER.match(rest)) or (length < 7 and _PART.match(rest)):
        return True
    if (pointing := _POINTS.search(rest)) is None:
        return False
    before = rest[: pointing.start()]  # where what is pointed at may stand: a thing has no name
    return not (_NOUN.search(before) or (pointing["somebody"] and names(before)))


def said_before(answer: str, before: str, message: str) -> bool:
    """Whether an answer is of what was said before alone: all of its words stand there, and none in the message."""
    own, told = _signs(answer), _signs(message)
    return bool(own) and own <= _signs(before) and not own & told


def _signs(text: str) -> set[str]:
    """A text's words and numbers."""
    return set(_WORD.findall(fold(text)))
