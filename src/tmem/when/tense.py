"""Whether a sentence speaks of what has been or of what is to come, at one place in it.

"On Friday" is a date only with its verb: we went, we are going. The marks are English verb forms and nothing more;
where they are missing or disagree there is no answer, for a date a week off is worse than none.
"""

from __future__ import annotations

import re

from tmem.when.words import listed

PAST, UNKNOWN, MAYBE, FUTURE = -1, 0, 1, 2  # MAYBE: to come, but "can" or "need" may also speak of a habit

_REACH = 250  # characters looked at on each side: keeps a text without full stops linear
_END = re.compile(r"(?<![ap]\.m)[.!?…;\n]+(?=\s|$)", re.I)
_TOKEN = re.compile(r"[a-z]+n't|[a-z]+|'[a-z]+|[,:()—–]", re.I)
# Another time that is named in the sentence, or a habit, a condition, a feast of every year.
_BLOCK = re.compile(
    r"\b(?:1[0-9]|20|21)\d\d\b|\bago\b|\b(?:last|next|this|previous|following|same|that|every|each|one|those)\s+(?:\w+\s+)?"
    r"(?:week|weekend|month|year|spring|summer|autumn|fall|winter|(?:mon|tues|wednes|thurs|fri|satur|sun)day)s?\b"
    r"|\b(?:always|usually|often|sometimes|normally|generally|whenever|everyday|every|each|if|unless|wish|used to"
    r"|(?:years|weeks?) (?:before|later)|when i was|as a (?:child|kid|boy|girl)|back then|once)\b",
    re.I,
)
_BREAKS = listed(", : ( ) — – and but so because although though while when where who which that what than or as")
_BE = listed("am is are 'm 're isn't aren't")
_BEINGS = _BE | listed("be being get gets getting 's to become becomes feel feels look looks seem seems")
_ADVERBS = listed("not so very really just also now already still too all quite pretty well")
_THE = listed("a an the my your his her its our their this that these those some any no")
_WAS = listed("was were did had been didn't wasn't weren't hadn't")
_WILL = listed("will shall 'll gonna won't shan't")
_MAYBE = listed(
    "want wants need needs hope hopes hoping plan plans intend intends expect expects should must might can "
    "can't cannot let's may"
)
_ORDERS = listed(
    "call remind meet come see let join bring ring text email send book please visit pick drop give tell ask "
    "stop don't wait try take make check get keep hold"
)
_SET = listed("due scheduled planned set free off available back away booked")
# Past forms that are not spelt like another word's present; "read", "put", "cut" and "come" tell nothing.
_IRREGULAR = listed(
    "ate awoke became began bent bled blew bought bred broke brought built burnt came caught chose clung "
    "crept dealt drank dreamt drew drove dug fed fell felt flew fought forgave forgot fought froze gave got "
    "grew heard held hid hung kept knelt knew laid leapt learnt led left lent lit lost made meant met mistook "
    "overheard overslept paid proved quit ran rang rebuilt rode said sang sank sat saw sent shook shone shot "
    "sewed sold spent slept slid smelt sought spilt spoilt spoke sped stole stood struck stuck stung swam "
    "swept swore swung taught threw thought told took tore understood undertook upset went wept withdrew woke "
    "won wore wove wrote done gone seen taken given written eaten broken driven flown grown known begun "
    "chosen forgotten spoken stolen woken worn sung swum hidden fallen shown"
)
_NOT_PAST = listed(
    "need bed red feed seed speed shed wed fred ted ned exceed proceed succeed indeed hundred sacred naked "
    "embed bleed breed weed deed greed reed kindred rugged ragged wicked wretched beloved supposed unexpected "
    "bored"
)
_NO_VERB = listed(
    "thing something anything nothing everything morning evening king ring spring during wedding meeting "
    "building string wing sibling ceiling interesting boring exciting amazing"
)
# "Decided to go on Friday", "booked it for Friday": done then, for a day that may be yet to come.
INTENT = listed(
    "decided planned wanted hoped agreed promised arranged offered asked told invited meant intended booked "
    "scheduled wished chose needed reserved ordered bought expected supposed going thinking wondering "
    "planning hoping got"
)


def _marks(words: list[str]) -> list[int | None]:
    """For each word what it says of the time: nothing (None), that it cannot be known, or one of the tenses."""
    marks: list[int | None] = [None] * len(words)
    for at, word in enumerate(words):
        ahead = words[at + 1 : at + 4]
        back = [one for one in words[max(0, at - 3) : at] if one not in _ADVERBS]
        behind = back[-1] if back else ""
        if word in _WILL:
            marks[at] = FUTURE
        elif word in _BE or (word == "'s" and behind in {"he", "she", "it", "that", "there", "what", "who", "where"}):
            coming = any((one.endswith("ing") and one not in _NO_VERB) or one in _SET for one in ahead)
            marks[at] = FUTURE if coming else (MAYBE if not ahead else UNKNOWN)
        elif word in _WAS:
            marks[at] = UNKNOWN if INTENT & set(ahead[:2]) and word != "did" and word != "didn't" else PAST
        elif (
            word in {"have", "has", "'ve"}
            and ahead[:1]
            and ahead[0] in {"a", "an", "to", "another", "no", "got", "plans"}
        ):
            marks[at] = MAYBE
        elif word in {"would", "could", "'d"}:
            polite = ahead[:1] in (["you"], ["like"], ["love"]) or (word == "could" and ahead[:1] == ["we"])
            marks[at] = MAYBE if polite else UNKNOWN
        elif (
            word in _MAYBE
            or (at == 0 and word in _ORDERS)
            or (word == "see" and ahead[:1] in (["you"], ["ya"]))
            or (word in {"looking", "look"} and ahead[:1] == ["forward"])
        ):
            marks[at] = MAYBE
        elif word in _IRREGULAR or (word.endswith("ed") and len(word) > 3 and word not in _NOT_PAST):
            if word == "used" and ahead[:1] == ["to"]:
                marks[at] = UNKNOWN
            elif behind in _BEINGS or behind in _THE or (word == "got" and behind in {"have", "has", "'ve"}):
                continue  # "is held", "the wounded", "have got": the word before it decides
            else:
                marks[at] = UNKNOWN if word in INTENT and word != "got" and "to" in ahead else PAST
    return marks


def _agreed(marks: list[int | None]) -> int:
    """The one tense of all marks, or UNKNOWN."""
    said = {mark for mark in marks if mark is not None}
    if said == {PAST}:
        return PAST
    return min(said) if said and min(said) > UNKNOWN else UNKNOWN


def tense(text: str, start: int, end: int) -> int:
    """The tense at the phrase ``text[start:end]``: PAST, FUTURE, MAYBE (to come) or UNKNOWN.

    The nearest verb form of the phrase's own clause decides, the one before it first; without any all of the sentence
    must agree.
    """
    before = text[max(0, start - _REACH) : start]
    for stop in list(_END.finditer(before))[-1:]:
        before = before[stop.end() :]
    after = text[end : end + _REACH]
    if stop_after := _END.search(after):
        after = after[: stop_after.start()]
    if _BLOCK.search(before) or _BLOCK.search(after):
        return UNKNOWN
    words_before = [one.lower() for one in _TOKEN.findall(before)]
    words_after = [one.lower() for one in _TOKEN.findall(after)]
    if words_after[:1] == [","]:
        words_after = words_after[1:] if not words_before or words_before[-1] in _BREAKS else words_after
    own = len(words_before) - next(
        (i for i, one in enumerate(reversed(words_before)) if one in _BREAKS), len(words_before)
    )
    until = next((i for i, one in enumerate(words_after) if one in _BREAKS), len(words_after))
    marks_before, marks_after = _marks(words_before), _marks(words_after)
    near = next((mark for mark in reversed(marks_before[own:]) if mark is not None), None)
    far = next((mark for mark in marks_after[:until] if mark is not None), None)
    if near is not None:
        agree = far is None or far == UNKNOWN or (near > 0) == (far > 0)
        return near if agree else UNKNOWN
    return far if far is not None else _agreed(marks_before + marks_after)


def intends(text: str, start: int) -> bool:
    """Whether a word of planning stands in the sentence before ``start``."""
    before = text[max(0, start - _REACH) : start]
    return bool(INTENT & {one.lower() for one in _TOKEN.findall(re.split(r"[.!?]\s", before)[-1])})
