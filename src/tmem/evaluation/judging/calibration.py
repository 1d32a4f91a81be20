"""How far a judge can be trusted: cases of our own whose verdict is known, half of them to be rejected.

The wrong answers are of the kind that judges let pass: on the topic without the answer, hedged, a part of it, out of
date. The right ones are of the kind that judges turn down: other words, another date format, more than was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tmem.evaluation.judging.endpoint import Endpoint
from tmem.evaluation.judging.judge import Judge, judge_account, judge_records


@dataclass(frozen=True)
class Case:
    """One answer with its known verdict. ``judging`` as in a benchmark's items."""

    id: str
    right: bool
    judging: Mapping[str, Any]
    prediction: str
    question: str = ""  # a rubric judge is not shown question and gold
    gold: str = ""

    def record(self) -> dict[str, Any]:
        """The case as :func:`tmem.evaluation.judging.judge.judge_records` takes it."""
        return {
            "id": self.id,
            "memory": "calibration",
            "seed": 0,
            "question": self.question,
            "prediction": self.prediction,
            "gold": [self.gold],
            "judging": self.judging,
        }


def calibrate(judge: Judge, endpoint: Endpoint, workers: int = 8) -> dict[str, Any]:
    """Judge the benchmark's cases: the rates (0 to 1) of wrong answers accepted and of right ones rejected.

    A reply that is unreadable or missing rejects its case, as it does in an evaluation; ``unreadable`` and ``failed``
    count them. ``misjudged`` are the ids of all cases with the other verdict. ``workers``: calls at a time.
    """
    cases = CASES[judge.name]
    judgements = judge_records([case.record() for case in cases], judge, endpoint, workers=workers)
    right = [judgement.score for case, judgement in zip(cases, judgements, strict=True) if case.right]
    wrong = [judgement.score for case, judgement in zip(cases, judgements, strict=True) if not case.right]
    return judge_account(judge, endpoint) | {
        "false_accept": sum(wrong) / len(wrong),
        "false_reject": 1 - sum(right) / len(right),
        "unreadable": sum(judgement.unreadable for judgement in judgements),
        "failed": sum(judgement.failed for judgement in judgements),
        "n_wrong": len(wrong),
        "n_right": len(right),
        "misjudged": [j.id for case, j in zip(cases, judgements, strict=True) if j.score != case.right],
    }


_USER = {"question_type": "single-session-user"}
_ASSISTANT = {"question_type": "single-session-assistant"}
_MULTI = {"question_type": "multi-session"}
_TEMPORAL = {"question_type": "temporal-reasoning"}
_UPDATE = {"question_type": "knowledge-update"}
_PREFERENCE = {"question_type": "single-session-preference"}

LONGMEMEVAL = (
    # ---- wrong ----
    Case(
        "user-vague",
        False,
        _USER,
        "You told me about your new dog and how happy you are with the name you found. It is a lovely name for a dog.",
        "What did I call my new dog?",
        "Biscuit",
    ),
    Case(
        "user-incorrect",
        False,
        _USER,
        "INCORRECT would be to say the Fairview library, and CORRECT is what you told me: the one on Dock Street.",
        "Which library do I volunteer at?",
        "The Fairview library",
    ),
    Case(
        "assistant-hedge",
        False,
        _ASSISTANT,
        "Yes, I did recommend a spice for the lentil soup; it may have been paprika, turmeric or something similar.",
        "Which spice did you recommend for my lentil soup?",
        "Smoked paprika and a little sumac",
    ),
    Case(
        "multi-subset",
        False,
        _MULTI,
        "You visited Lisbon and Ghent this year.",
        "Which cities did I visit this year?",
        "Lisbon, Ghent and Tartu",
    ),
    Case(
        "multi-total",
        False,
        _MULTI,
        "You mentioned buying a lamp for $40 and also a chair, so you have spent at least $40 on furniture.",
        "How much did I spend on the lamp and the chair together?",
        "$165",
    ),
    Case(
        "temporal-far",
        False,
        _TEMPORAL,
        "About three weeks passed between the two appointments.",
        "How many days passed between my eye test and my dentist appointment?",
        "12 days. 13 days (counting the last day) is acceptable too.",
    ),
    Case(
        "temporal-order",
        False,
        _TEMPORAL,
        "First you repainted the kitchen, then you replaced the sink, and you took up the old floor at the end.",
        "In which order did I do the floor, the sink and the paint in my kitchen?",
        "First the old floor was taken up, then the sink was replaced, and the painting came last.",
    ),
    Case(
        "update-old",
        False,
        _UPDATE,
        "Your personal best for 10 km is 52:40. Great work!",
        "What is my personal best for 10 km?",
        "49:15",
    ),
    Case(
        "update-old-preferred",
        False,
        _UPDATE,
        "You live in Utrecht. You mentioned Arnhem too, but only as a place where you had once thought of moving.",
        "Where do I live now?",
        "Arnhem",
    ),
    Case(
        "preference-generic",
        False,
        _PREFERENCE,
        "For a relaxing weekend you could sign up for a noisy street festival, or queue early for the big sales in the "
        "shopping centre. Crowds are part of the fun!",
        "What could I do this weekend?",
        "The user would like quiet outdoor ideas near water, since they enjoy rowing and avoid crowds. They would not "
        "like suggestions of busy events.",
    ),
    Case(
        "abstain-guess_abs",
        False,
        _USER,
        "You bought the cello in March, at the shop near the station.",
        "When did I buy my cello?",
        "The information provided is not enough. You mentioned buying a violin in March, but no cello.",
    ),
    Case(
        "abstain-zero_abs",
        False,
        _MULTI,
        "You have run no marathons abroad so far and two at home, so two in all.",
        "How many marathons did I run at home and abroad?",
        "The information provided is not enough. You mentioned two marathons at home and nothing about any abroad.",
    ),
    # ---- right ----
    Case(
        "user-words",
        True,
        _USER,
        "You work the night shift as a nurse in a children's hospital.",
        "What is my job?",
        "Paediatric nurse",
    ),
    Case(
        "user-date",
        True,
        _USER,
        "That was on 03/09/2022 (day/month/year), as you told me when we talked about your old flat.",
        "On what date did I sign the lease?",
        "September 3rd, 2022",
    ),
    Case(
        "assistant-detail",
        True,
        _ASSISTANT,
        "I suggested Moby-Dick, the novel that Herman Melville published in 1851 about Captain Ahab's whale hunt. "
        "It is long, so I also proposed to read a chapter per evening.",
        "Which book about the sea did you suggest to me?",
        "Moby Dick",
    ),
    Case(
        "multi-number",
        True,
        _MULTI,
        "Half a dozen: two in spring, three over the summer and one last week.",
        "How many bicycles did I repair?",
        "6",
    ),
    Case(
        "multi-order",
        True,
        _MULTI,
        "You have been learning Basque, and before that it was Finnish; you also picked up some Welsh.",
        "Which languages have I been learning?",
        "Finnish, Welsh and Basque",
    ),
    Case(
        "temporal-off-by-one",
        True,
        _TEMPORAL,
        "It took 19 days from the order until the table was delivered.",
        "How many days did it take until my table was delivered?",
        "18 days",
    ),
    Case(
        "temporal-unit",
        True,
        _TEMPORAL,
        "You had been going to the pottery class for 56 days when you sold your first bowl.",
        "How many weeks had I been going to the pottery class when I sold my first bowl?",
        "8 weeks",
    ),
    Case(
        "update-new",
        True,
        _UPDATE,
        "You get up at half past five in the morning now.",
        "When do I get up?",
        "5:30 am",
    ),
    Case(
        "update-both",
        True,
        _UPDATE,
        "At first you had saved 1,200 euros, but since your last deposit it is 1,750 euros.",
        "How much have I saved for the trip?",
        "€1,750",
    ),
    Case(
        "preference-part",
        True,
        _PREFERENCE,
        "Since you like to cook without meat, how about a mushroom risotto? It is done in half an hour.",
        "What should I cook tonight?",
        "The user would like vegetarian recipes that suit a small kitchen and a gas stove. They would not like dishes "
        "with meat.",
    ),
    Case(
        "abstain-words_abs",
        True,
        _TEMPORAL,
        "I can't tell: you never mentioned when the second interview took place.",
        "How many days were there between my two interviews?",
        "The information provided is not enough. You mentioned the date of the first interview only.",
    ),
    Case(
        "abstain-other_abs",
        True,
        _UPDATE,
        "I know that you keep tomatoes on the balcony, but nothing you told me is about orchids.",
        "How many orchids do I have?",
        "The information provided is not enough. You mentioned tomatoes but no orchids.",
    ),
)

_GAME = {
    "rubrics": [
        "States that a player starts with 4 tokens.",
        "States that the youngest player begins.",
        "Does not mention any rule about dice.",
    ]
}
_LEAVE = {
    "rubrics": [
        "Concludes that the request must be refused.",
        "Gives the missing signature of the team lead as the reason.",
    ]
}
_REPORT = {
    "rubrics": [
        "The response is a list of exactly three points.",
        "Every point names a temperature in degrees Celsius.",
        "States that the second sample melted first.",
    ]
}
_CONVERT = {"rubrics": ["Gives 42 zorks as the result.", "Shows the intermediate value of 6 zarks."]}

CLBENCH = (
    # ---- wrong ----
    Case(
        "game-part",
        False,
        _GAME,
        "Each player takes 4 tokens. Then the first player draws a card, and play goes round.",
    ),
    Case(
        "leave-vague",
        False,
        _LEAVE,
        "The request should be refused, since something about the paperwork does not seem to be in order.",
    ),
    Case(
        "report-format",
        False,
        _REPORT,
        "- Sample 2 melted first, at 41 °C.\n- Sample 1 melted at 58 °C.\n- Sample 3 did not melt.\n"
        "- All samples weighed the same.",
    ),
    Case(
        "convert-claim",
        False,
        _CONVERT,
        "I followed every step with care and checked it twice: the result is 42 zorks.",
    ),
    # ---- right ----
    Case("game-words", True, _GAME, "Whoever is the youngest goes first. Everybody has four tokens at the start."),
    Case(
        "leave-words",
        True,
        _LEAVE,
        "We have to turn this down: the team lead has not signed the form. Once that is done, hand it in again.",
    ),
    Case(
        "report-detail",
        True,
        _REPORT,
        "1. Sample 2 was the first to melt, at 41 degrees Celsius.\n2. Sample 1 followed at 58 degrees Celsius.\n"
        "3. Sample 3 was still solid at 90 degrees Celsius.",
    ),
    Case(
        "convert-words", True, _CONVERT, "18 zirks make six zarks; at seven zorks to a zark that is 6 x 7 = 42 zorks."
    ),
)

CASES = {"longmemeval": LONGMEMEVAL, "clbench": CLBENCH}
