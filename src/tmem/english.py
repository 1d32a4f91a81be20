"""What an English message does: does it lean on what was said before, agree, want something, ask about who speaks?

A small model that is shown what was said before finds that again instead of what is new (docs/log.md, 2026-12-01), so
it is shown only where the message needs it: "No, it is on Friday", "Pottery.", "She works at the post office".
"""

from __future__ import annotations

import re

from tmem.texts import fold, names, words

ASKED_BACK = "assistant: I do not know. "  # before a question, for what was said next to be its answer
_BEGINS = 400  # characters of a message that are looked at
_WORD = re.compile(r"\w+")
_END = r"\b[\s,.!;:–—-]*"
_FILLS = re.compile(
    r"\W*\b(?:oh|well|okay|ok|ah|haha|hm+|also|by the way|to be honest|honestly|unfortunately|sadly|luckily)" + _END,
    re.IGNORECASE,
)
# As replies begin: "No, ...", "Actually ...", "Yes".
_OPENS = re.compile(
    r"\W*\b(?:no|nope|nah|not? (?:any ?more|quite|really|at all)|yes|yeah|yep|yup|right(?! now)|correct|exactly|"
    r"absolutely|definitely|indeed|actually|sorry|wait|wrong|correction|i mean(?:t)?|"
    r"(?:that|this)(?:['’]s| is| was)(?: (?:not|no longer))? (?:wrong|right|true|correct|it))" + _END,
    re.IGNORECASE,
)
_AGREES = re.compile(
    r"\W*\b(?:yes|yeah|yep|yup|right(?! now)|correct|exactly|sure(?! enough)|of course|absolutely|definitely|indeed|"
    r"(?:that|this)(?:['’]s| is) (?:right|true|correct|it)|i (?:still )?(?:do|am|did|have|was|will)\W*$)",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"(?:i|we|my|our)\b", re.IGNORECASE)
# Where a phrase begins that is no sentence, if little follows it.
_PART = re.compile(
    r"(?:not|to|on|at|in|with|for|since|from|by|until|after|before|about|around|near|next|every|only|just|because|"
    r"both|neither|either|mostly|same|me|so)\b(?!.*\b(?:i|we)\b)",
    re.IGNORECASE,
)
_ASKS = re.compile(r"(?:what|who|whom|whose|which|when|where|why|how)\b", re.IGNORECASE)
_SOMEBODY = r"he|she|him|her|his|hers|they|them|their|theirs"
_SOMETHING = (
    r"(?<!does )(?<!time is )it(?! (?:possible|true|rains|snows)\b)|its|"
    r"there(?! (?:is|are|was|were|will|has|have)\b)|the (?:same|other) one|(?:an?|another)(?: \w+)? one|"
    r"one(?=\W*$| too\b)|(?:do|did|am|have|was|can|would) too|"
    r"(?:that|this|these|those)(?=\W*$|[.,;!?]| (?:is|was|are|were|too|since|now|again|instead|any ?more)\b)"
)
_POINTS = re.compile(rf"\b(?:(?P<somebody>{_SOMEBODY})|(?P<something>{_SOMETHING}))\b", re.IGNORECASE)
_GOES_ON = re.compile(
    r"\b(?:(?<!any )more(?! \w+ than)|again|else|instead|another|continue|shorter|longer|simpler|previous|above|"
    r"summari[sz]e|translate|rewrite|(?:you|i) (?:just )?(?:said|say|told|mean|meant|wrote)|that as|"
    r"(?:my|your|our|this) (?:last )?(?:message|conversation|answer))\b|^(?:and|but|so)\b|"
    r"\bthe (?:first|second|third|last|other)(?: one)?\W*$",
    re.IGNORECASE,
)
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
# "Give me a tip", "I moved to Lisbon: recommend me a restaurant", "I need a recipe", "why is the sky blue".
_WANTS = re.compile(
    r"(?:^|[.!?…\n])\W{0,3}(?:what['’]?s?|who['’]?s?|which|where|why|how|should)\b|"
    r"(?:^|[.!?…:;,\n])\W{0,3}(?:(?:please|now|then|so|ok(?:ay)?|also|just|and|but)\W{1,3}){0,3}"
    r"(?:\w+ me|tell|give|write|explain|describe|list|name|show|make|find|plan|create|compose|draft|invent|think of|"
    r"come up with|translate|convert|calculate|compute|count|sum up|summari[sz]e|define|compare|rewrite|correct|fix|"
    r"complete|continue|imagine|pretend|help|remind|answer|repeat|spell|say|let['’]?s|do not|don['’]t|use|keep|"
    r"from now on)\b|"
    r"\b(?:please|recommend|suggest|(?:can|could|would|will) you|i need|i would like|i['’]d like)\b|"
    r"\b(?:any|some) (?:\w+ )?(?:advice|tips?|ideas?|suggestions?|recommendations?)\b",
    re.IGNORECASE,
)
_NOUN = re.compile(r"\b(?:my|our|your|the|an?|some|two|three|\w+['’]s)\s+[^\W\d]", re.IGNORECASE)
_COMMON = frozenset(
    """
    about could does from have know like long make many much need should take tell that their there these they this
    want were what when where which will with would your
    """.split()  # noqa: SIM905
)


def leans(message: str, before: str = "") -> bool:
    """Whether a message needs what was said ``before`` it: to be read with it, or since it puts something right."""
    asked = before.rstrip().endswith("?") and len(message.split()) < 9 and not _SPEAKER.match(message)
    return asked or before.startswith(ASKED_BACK) or bool(_OPENS.match(_begun(message))) or means_another(message)


def asks_of_oneself(question: str) -> bool:
    """Whether a question asks for a fact of the life of who speaks, and not for advice."""
    return bool(_OWN.search(question)) and not _REQUEST.search(_TELL.sub("", question))


def wants(message: str) -> bool:
    """Whether a message may want something said or done, and not only tell."""
    return bool(_WANTS.search(message))


def goes_on(message: str) -> bool:
    """Whether a message asks for more of what was said before."""
    return bool(_GOES_ON.search(message))


def speaks_of(question: str, text: str) -> bool:
    """Whether a word of a question, and no common one, stands in a text."""
    return any(len(word) > 3 for word in (words(question) & words(text)) - _COMMON)


def agrees(message: str) -> bool:
    """Whether a message says that what was said before is so."""
    return bool(_AGREES.match(_begun(message)))


def means_another(message: str) -> bool:
    """Whether a message, without how it opens, is a part of a sentence or points at what it does not name."""
    rest = _begun(message)
    while opening := _OPENS.match(rest) or _FILLS.match(rest):
        rest = rest[opening.end() :]
    length = len(rest.split())
    whole = _SPEAKER.match(rest) or (length == 3 and _ASKS.match(rest))
    if (length < 4 and not whole) or (length < 7 and _PART.match(rest)):
        return True
    if (pointing := _POINTS.search(rest)) is None:
        return False
    before = rest[: pointing.start()]  # where what is pointed at may stand: a thing has no name
    return not (_NOUN.search(before) or (pointing["somebody"] and names(before)))


def said_before(answer: str, before: str, message: str) -> bool:
    """Whether an answer is of what was said before alone: all of its words stand there, and none in the message."""
    own, told = _signs(answer), _signs(message)
    return bool(own) and own <= _signs(before) and not own & told


def _begun(message: str) -> str:
    """How a message begins, without words that say nothing."""
    begun = message[:_BEGINS]
    while filling := _FILLS.match(begun):
        begun = begun[filling.end() :]
    return begun


def _signs(text: str) -> set[str]:
    """A text's words and numbers."""
    return set(_WORD.findall(fold(text)))
