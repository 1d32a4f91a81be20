"""Whether a sentence speaks of what has been or of what is to come, at one place in it.

"On Friday" is a date only with its verb: we went, we are going. The marks are English verb forms and nothing more;
where they are missing or disagree there is no answer, for a date a week off is worse than none.
"""

from __future__ import annotations

import re

from tmem.when.words import TO_TWELVE, listed

PAST, UNKNOWN, MAYBE, FUTURE = -1, 0, 1, 2  # MAYBE: to come, but "can" or "need" may also speak of a habit

_REACH = 160  # characters looked at on each side: keeps a text without full stops linear
_END = re.compile(r"\n|(?<![ap]\.m)[.!?…;]+(?=[\"'”’)\]}]{0,3}(?:\s|$))", re.I)
# "2 am" is no verb, and the marks in 2:30 and 1,200 end no clause.
_NUMBER = re.compile(
    rf"(?:\d|\b(?:{TO_TWELVE}|fifteen|(?:twen|thir|for|fif)ty))[ \n-]{{0,2}}am\b|(?<=\d)[:,](?=\d)", re.I
)
_NUMBERED = re.compile(r"\d|\bam\b", re.I)  # a quick way out
_TOKEN = re.compile(r"[a-z]+n't|[a-z]+|'[a-z]+|[,:()—–\"“”]", re.I)
# Another time that is named in the sentence, or a habit, a condition, a feast of every year.
_BLOCK = re.compile(
    r"\b(?:(?:1[0-9]|20|21)\d\ds?|ago|(?:last|next|this|previous|following|same|that|every|each|one|those)\s+(?:\w+\s+)?"
    r"(?:week|weekend|month|year|spring|summer|autumn|fall|winter|(?:mon|tues|wednes|thurs|fri|satur|sun)day)s?"
    r"|always|usually|often|sometimes|normally|generally|whenever|everyday|every|each|if|unless|wish|used to"
    r"|(?:years|weeks?) (?:before|later)|when (?:i|he|she|they|we|you) (?:was|were)|(?:was|were) \d{1,2} when|aged \d"
    r"|years old|as (?:a )?(?:child|children|kids?|boys?|girls?)|growing up|back then|once"
    r"|had (?:i|you|he|she|we|they))\b",
    re.I,
)
_MARKS = listed(', : ( ) — – " “ ”')
_BREAKS = _MARKS | listed(
    "and but so because although though while when where how why whether who which that what than or as"
)
# "Was so tired", "went to that place": here these two break nothing.
_BEFORE_SO = listed("am is are was were been be 's 're 'm had have felt feel got look looked seemed")
_BEFORE_THAT = listed("to at in for from with of")
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
_UNMARKED = listed(
    "cut put hit hurt read set let shut quit spread split beat"
)  # past, or present after I, you, we, they
_OBJECTS = listed("me us him her them it the my your a an")
_NOUNS = listed(
    "plan plans hope hopes need needs call visit email text book ring check hold drop stop try ask let "
    "make meeting building painting recording training beginning ending opening feeling"
)
_HERE = listed("he she it that there what who where")
_HAD = listed("a an to another no got plans")  # after "have": it is still to come
_GOVERNS = listed("did didn't to was were had")
_GREETINGS = {("let", "'s"), ("see", "you"), ("see", "ya"), ("look", "forward"), ("looking", "forward")}
_OTHER = listed("about after since photos pictures recovering tired sore")
_PRONOUNS = listed("i you he she it we they")
_SUBJECTS = listed("i he she we they")
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
    "chosen forgotten spoken stolen woken worn sung swum hidden fallen shown "
    "found stuck rung risen sprang shrank overcame withheld forbade swung ridden beaten bitten blown drawn drunk "
    "forgiven frozen proven sunk torn thrown shaken bit spun sprung"
)
_NOT_PAST = listed(
    "need bed red feed seed speed shed wed fred ted ned exceed proceed succeed indeed hundred sacred naked "
    "embed bleed breed weed deed greed reed kindred rugged ragged wicked wretched beloved supposed unexpected "
    "bored"
)
_NO_VERB = listed(
    "thing something anything nothing everything morning evening king ring spring during wedding "
    "string wing sibling ceiling interesting boring exciting amazing"
)
# "Decided to go on Friday", "booked it for Friday": done then, for a day that may be yet to come.
INTENT = listed(
    "decided planned wanted hoped agreed promised arranged offered asked told invited meant intended booked "
    "scheduled wished chose needed reserved ordered bought expected supposed going thinking wondering "
    "planning hoping set rented hired"
)


# What these were for may be yet to come: "registered for the race in June", "got tickets for the show on Friday".
_FOR_LATER = listed(
    "booked registered applied reserved scheduled arranged planned enrolled entered volunteered announced invited "
    "wanted needed expected hoped wished accepted admitted"
)
# "I got an interview on Friday", "they gave me a slot on Friday": what comes last is what will be on Friday.
_GOT = listed("got gave given offered found made")
_SLOTS = listed("slot interview shift table date exam audition gig meeting viewing flight")
_FOR_LATER_TOO = listed("ticket tickets invitation appointment reservation booking deposit invite")
_ARRANGED = INTENT | listed(
    "due set coming leaving meeting flying moving arriving having starting seeing getting returning "
    "cancelled canceled postponed moved sold confirmed announced"
)
_STARTS = listed("start starts begin begins")  # "school starts on Monday" is said of what is to come
# What arrives on Friday was ordered at another time: "the sofa we ordered arrives on Friday".
_PRESENT = listed(
    "arrives leaves opens closes moves takes comes goes gets flies ends happens returns departs lands runs expires "
    "reopens finishes travels meets turns becomes"
)
# "Paid for the trip in June": the month may be the trip's. Not so after these verbs, nor with these behind the "for".
_WENT_FOR = listed(
    "went go going came come left waited wait waiting looked look looking searched searching met meet stayed ran walked"
)
_BETWEEN = listed("out over up back home away round around with me us him her them")
_FOR_NOW = listed(
    "me us him her them you it everyone everybody myself ourselves mum mom dad mother father parents sister brother "
    "wife husband son daughter kids children family friend friends boyfriend girlfriend grandma grandpa cat dog "
    "minute minutes hour hours day days night nights week weeks month months year years while ages bit moment time "
    "free fun nothing"
)
_EVENTS = listed(
    "wedding weddings trip holiday holidays vacation party course festival concert exam exams conference race birthday "
    "interview meeting show match game marathon tournament competition event operation surgery move launch opening"
)
_PREPOSITIONS = listed("in at on from with without by after before near into around during over under")
_TELLING = (  # a quick way out for all other words
    _WILL
    | _BE
    | _WAS
    | _MAYBE
    | _ORDERS
    | _IRREGULAR
    | _UNMARKED
    | _STARTS
    | listed("have has 've would could 'd 's see look looking")
)


def _mark(words: list[str], at: int) -> int | None:
    """What one word says of the time: nothing (None), that it cannot be known, or one of the tenses."""
    word = words[at]
    if word not in _TELLING and not word.endswith("ed"):
        return None
    ahead = words[at + 1 : at + 4]
    after = ahead[0] if ahead else ""
    behind = next((one for one in reversed(words[max(0, at - 3) : at]) if one not in _ADVERBS), "")
    if word in _WILL or (word in _STARTS and behind not in _THE | _GOVERNS):
        return FUTURE
    if word in _BE or (word == "'s" and behind in _HERE):
        near = ahead[:2] if after in _PRONOUNS else ahead[:1]
        doing = any(one.endswith("ing") and one not in _NO_VERB and (one in near or one not in _NOUNS) for one in ahead)
        # "is on Friday", with nothing between
        if after == "to":
            return MAYBE
        return FUTURE if doing or _SET & set(ahead) else UNKNOWN if ahead else MAYBE
    if word in _WAS:
        if after == "better":
            return MAYBE
        if after == "to" or {"thought", "knew"} & set(words[max(0, at - 3) : at]):
            return UNKNOWN
        return UNKNOWN if _ARRANGED & set(ahead[:2]) and word not in ("did", "didn't") else PAST
    coming = word in _MAYBE or word in ("have", "see", "look", "looking")
    if coming and _GOVERNS & set(words[max(0, at - 3) : at]):
        return None  # "didn't want to", "did you see him", "to need"
    if word in ("have", "has", "'ve"):
        return MAYBE if after in _HAD else None
    if word in ("would", "could", "'d"):
        return MAYBE if after in ("you", "like", "love", "better") or (word, after) == ("could", "we") else UNKNOWN
    if word in ("can", "might"):
        return MAYBE if behind in _PRONOUNS or after in _PRONOUNS else None
    if word in _MAYBE and (word not in _NOUNS or behind in _PRONOUNS | {"", "any"}):
        return MAYBE
    if (word, after) in _GREETINGS or (at == 0 and word in _ORDERS and (word not in _NOUNS or after in _OBJECTS)):
        return MAYBE
    if word in _UNMARKED:
        return PAST if behind in _PRONOUNS - {"you"} else None
    if word not in _IRREGULAR and (not word.endswith("ed") or len(word) < 4 or word in _NOT_PAST):
        return None
    if "have" in words[max(0, at - 3) : at] and (_WILL | {"to"}) & set(words[max(0, at - 5) : at]):
        return None  # "will have finished", "hope to have it finished"
    if behind in _BEINGS or behind in _THE or (word == "got" and behind in ("have", "has", "'ve")):
        return None  # "is held", "the wounded", "have got": the word before it decides
    unsure = (
        word in _FOR_LATER or (word in INTENT and "to" in ahead) or (word, after) in {("used", "to"), ("signed", "up")}
    )
    return UNKNOWN if unsure else PAST


def _either(words: frozenset[str]) -> str:
    return f"(?:{'|'.join(sorted(words))}) "


# The words beside a date that are no clause: "we ate on Thursday and [with Tom in Paris] on Friday"; after "and" also
# "[the dog] on Friday", but not "[the movers come] on Friday" and not "[fly] on Friday".
_NAMED = rf"(?:{_either(_THE)})+\S+ |(?:[A-Z]\S* )+"
_BESIDE = (
    rf"(?:{_either(_ADVERBS | listed('then again later earlier finally early late'))}"
    rf"|to (?:{_NAMED})|{_either(_PREPOSITIONS)}(?:{_NAMED}|\S+ ))*(?:{_either(_PREPOSITIONS)})?"
)
_ADDED = rf"(?:{_either(listed('a an the my your her its our their'))}\S+ |(?:[A-Z]\S* )+|{_either(_OBJECTS - _THE)})?"
_NO_CLAUSE = {word: re.compile(_ADDED + _BESIDE) for word in ("and", "or", "but")}
_NO_CLAUSE |= {word: re.compile(rf"(?:\S+ |{_ADDED}){_BESIDE}") for word in ("as", "than")}
_NO_CLAUSE_AT_ALL = re.compile(_BESIDE)


def _breaks(words: list[str], at: int) -> bool:
    """Whether a clause ends at this word."""
    word, behind = words[at], words[at - 1] if at else ""
    if word == "that" and 0 < at == len(words) - 2 and not words[-1].endswith("s") and _mark(words, at - 1) == PAST:
        return False  # "saw that film", but "saw that works"
    return word in _BREAKS and not (
        (word == "so" and behind in _BEFORE_SO) or (word == "that" and behind in _BEFORE_THAT)
    )


def _of_something_later(verb: str, rest: list[str]) -> bool:
    """Whether a date behind a past verb and the ``rest`` may be that of a thing: "a dress for the wedding in June"."""
    at = max((i for i, one in enumerate(rest) if one in ("for", "of")), default=None)
    if at is None:
        return False
    thing = rest[at + 1 :]
    thing = thing[: next((i for i, one in enumerate(thing) if one in _PREPOSITIONS or one == "to"), len(thing))]
    last = thing[-1] if thing else ""
    if rest[at] == "of":
        return last in _EVENTS
    doing = next((one for one in reversed([verb, *rest[:at]]) if one not in _BETWEEN and not one.istitle()), "")
    return last not in _FOR_NOW and doing not in _WENT_FOR


def _agreed(marks: list[int | None]) -> int:
    """The one tense of all marks, or UNKNOWN."""
    said = {mark for mark in marks if mark is not None}
    if said == {PAST}:
        return PAST
    return min(said) if said and min(said) > UNKNOWN else UNKNOWN


def _words(text: str) -> list[str]:
    """The words in small letters, but for names: Will, May and Ahmed are no verbs."""
    words: list[str] = []
    for one in _TOKEN.findall(_NUMBER.sub(" ", text) if _NUMBERED.search(text) else text):
        inside = bool(words) and words[-1] not in _MARKS
        words.append(one if inside and one.istitle() and len(one) > 1 and one[0] != "'" else one.lower())
    return words


def tense(text: str, start: int, end: int) -> int:
    """The tense at the phrase ``text[start:end]``: PAST, FUTURE, MAYBE (to come) or UNKNOWN.

    The nearest verb form of the phrase's own clause decides, the one before it first; without any, and without a clause
    of its own, all of the sentence must agree.
    """
    before = text[max(0, start - _REACH) : start]
    for stop in list(_END.finditer(before))[-1:]:
        before = before[stop.end() :]
    after = text[end : end + _REACH]
    if stop_after := _END.search(after):
        after = after[: stop_after.start()]
    if _BLOCK.search(before) or _BLOCK.search(after):
        return UNKNOWN
    words_before, words_after = _words(before), _words(after)
    if words_after[:1] == [","]:
        words_after = words_after[1:] if not words_before or words_before[-1] in _BREAKS else words_after
    own = next((at + 1 for at in reversed(range(len(words_before))) if _breaks(words_before, at)), 0)
    until = next((at for at in range(len(words_after)) if _breaks(words_after, at)), len(words_after))
    verb = next((at for at in reversed(range(own, len(words_before))) if _mark(words_before, at) is not None), -1)
    near = _mark(words_before, verb) if verb >= 0 else None
    far = next((mark for at in range(until) if (mark := _mark(words_after, at)) is not None), None)
    if near is not None:
        clause, rest = words_before[own:], words_before[verb + 1 :]
        about = "about" in clause[:-1] and clause[clause.index("about") + 1] not in _OBJECTS - _THE
        if near == PAST and (about or _FOR_LATER_TOO & set(clause)):
            return UNKNOWN  # "got an email about the interview on Friday"
        if near == PAST and words_before[verb] in _GOT and _SLOTS & set(rest[-2:]):
            return UNKNOWN
        other = _SUBJECTS & set(rest[words_before[verb] in _WAS :])  # "I heard we fly on Friday", not "did we fly"
        if near == PAST and (other or _PRESENT & set(rest) or _of_something_later(words_before[verb], rest)):
            return UNKNOWN
        if near > UNKNOWN and _OTHER & set(clause):
            return UNKNOWN  # "tell me about the party on Friday", "recovering from", "the photos of"
        # "who saw me on Friday wants ...": the one before it is its own
        agree = far is None or (near > UNKNOWN) == (far > UNKNOWN) or (near > UNKNOWN and far == UNKNOWN)
        return near if agree or words_before[own - 1 : own] in (["who"], ["which"]) else UNKNOWN
    if far is not None:
        return UNKNOWN if far == PAST and _PRESENT & set(words_after[:until]) else far
    clause = words_before[own:]
    doing = bool(clause) and clause[0].endswith("ing")  # "we are leaving tomorrow and coming back on Friday"
    no_clause = _NO_CLAUSE.get(words_before[own - 1] if own else "", _NO_CLAUSE_AT_ALL)
    # "I got the keys and we move in on Saturday": a verb that is not known, which another's past says nothing of.
    of_its_own = doing or until > 0 or not no_clause.fullmatch("".join(f"{one} " for one in clause))
    marks_before, marks_after = (
        [_mark(words, at) for at in range(len(words))] for words in (words_before, words_after)
    )
    if not of_its_own and words_after and not any(mark is not None for mark in marks_after):
        return UNKNOWN
    agreed = _agreed(marks_before + marks_after)
    return max(agreed, UNKNOWN) if of_its_own else agreed


def intends(text: str, start: int) -> bool:
    """Whether a word of planning stands in the sentence before ``start``."""
    before = text[max(0, start - _REACH) : start]
    return bool(INTENT & {one.lower() for one in _TOKEN.findall(re.split(r"[.!?]\s", before)[-1])})
