"""Small questions about texts that several layers ask: are two the same but for their look, whose names are in one."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

NO_INFORMATION = "No information available"  # as LoCoMo wants what was never said answered, and taught models refuse
_NO_ANSWERS = ("no information available", "not mentioned", "not mentioned in the conversation")  # folded
# Words that begin a question or a request with a capital letter and are nobody's name.
_OPENERS = frozenset(
    """
    a about after again also am and any are as at because before between but by can could did do does during
    explain for from give had has have he her here his how i if in into is it its just let list may might must my
    name near no not of on one or ought our please say shall she should show since so some tell than that the
    their them then there these they this those to under until was we were what whatever when where which while
    who whom whose why will with within would write yes you your
    actually apart approximately aren aside besides both concerning currently describe didn doesn don each ever
    every exactly hello hey hi isn last lately many more most much next normally nowadays oh ok okay out over
    quick recall recently regarding remember remind roughly sorry speaking thank thanks today tomorrow up
    usually well whenever wherever whichever wasn whats wheres whos yesterday
    """.split()  # noqa: SIM905
)
CALENDAR = frozenset(
    """
    monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays thursdays fridays saturdays
    sundays january february march april may june july august september october november december
    """.split()  # noqa: SIM905
)  # in capital letters, and seldom somebody's name
COMMON = frozenset(
    """
    art bill chance cliff dawn faith gene grant guy hope king miles norm olive penny rich river rose ruby sandy sky skip
    storm summer trip van violet will
    """.split()  # noqa: SIM905
)  # names that in small letters are mostly something else
_NATIONS = frozenset(
    """
    african american arabic argentinian asian australian austrian basque belgian brazilian breton british bulgarian
    canadian catalan chinese croatian cuban czech danish dutch egyptian english estonian ethiopian european finnish
    french georgian german greek hebrew hindi hungarian icelandic indian indonesian iranian irish israeli italian
    japanese korean latin latvian lebanese lithuanian mandarin mexican moroccan nigerian norwegian persian polish
    portuguese romanian russian scottish serbian slovak slovenian spanish swedish swiss syrian thai tunisian turkish
    ukrainian vietnamese welsh
    """.split()  # noqa: SIM905
)  # in capital letters, and hardly ever somebody's name
# Vowel signs and other marks, of which Python takes none for a part of a word: in Hindi they tell fort from black.
# Without those of scripts that have no spaces (Thai to Burmese, Khmer).
SIGNS = "".join(
    sign
    for sign in map(chr, (*range(0x300, 0xE00), *range(0xF00, 0x1000), *range(0x10A0, 0x1780), *range(0x1800, 0xAC00)))
    if unicodedata.category(sign).startswith("M")
)
_WORD = re.compile(rf"[^\W\d_](?:[\w{SIGNS}-]|['’](?=\w\w))*(?:['’]s\b)?")
_END = re.compile(r"[.!?:]\s+$")
_POSSESSIVE = re.compile(r"['’]s?$")
_SHORT = re.compile(r"['’](?:m|d|ll|ve|re)$")  # "I'll", "Who'd"
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_LIKE = {"'": "‘’‛′´`", '"': "“”„‟", "-": "‐‑–—−", "": "\u00ad\u200b\u2060\ufeff"}  # the last are not seen
_PLAIN = {ord(sign): plain for plain, signs in _LIKE.items() for sign in signs}
_SPACED = re.compile(r" +(?=[?!.,;:])")


def first_line(reply: str) -> str:
    """The first line that is not empty; "" if there is none."""
    return next((line.strip() for line in reply.splitlines() if line.strip()), "")


def fold(text: str) -> str:
    """Case, white space and forms of one letter or sign folded: texts that differ in nothing else are the same."""
    plain = unicodedata.normalize("NFKC", text.translate(_PLAIN)).translate(_PLAIN)
    return _SPACED.sub("", " ".join(plain.casefold().split()))


def is_none(answer: str) -> bool:
    """Whether an answer says that there is none."""
    return fold(answer).rstrip(".") in _NO_ANSWERS


def said(reply: str) -> str:
    """What a model says when it has thought: the reply without ``<think>`` blocks, "" where the first does not end.

    The prompt may have begun the first one, so that its end alone is there.
    """
    before, end, rest = reply.partition("</think>")
    if end and "<think>" not in before:
        reply = rest
    reply = _THOUGHT.sub("", reply).strip()
    return "" if reply.startswith("<think>") else reply


@lru_cache(maxsize=1 << 16)
def words(text: str) -> frozenset[str]:
    """The words of a text, whatever they look like; of "Ana's" it is "ana"."""
    return frozenset(fold(_POSSESSIVE.sub("", match.group())) for match in _WORD.finditer(text))


def names(text: str) -> list[str]:
    """The names in a text, as they stand in it and each once: words with a capital letter where none has to be.

    Nothing is known of languages that have no capital letters: there are no names then.
    """
    found: dict[str, None] = {}
    for match in _WORD.finditer(text):
        word = _SHORT.sub("", _POSSESSIVE.sub("", match.group()))
        begins = match.start() == 0 or _END.search(text[max(0, match.start() - 8) : match.start()]) is not None
        if not word[:1].isupper() or word.isupper():  # "I", "PIN"
            continue
        if word.casefold() not in _NATIONS and not (begins and word.casefold() in _OPENERS):
            found[word] = None
    return list(found)
