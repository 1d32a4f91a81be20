"""Judging answers with a language model, for benchmarks whose golds cannot be compared word by word.

The prompts are worded here after the rules of the official ones; a report names the judge's model and
:func:`template_sha256` beside its numbers, because the same answers score differently under another judge or prompt.
Whatever goes wrong, every record gets a judgement: one without a verdict counts as 0 and says why.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Protocol

from tmem.errors import DataError
from tmem.evaluation.judging.endpoint import Endpoint, EndpointError
from tmem.files import without_surrogates
from tmem.texts import said

Record = Mapping[str, Any]  # id, memory, seed, question, prediction, gold (list of texts), judging


@dataclass(frozen=True)
class Verdict:
    """What one reply of the judge says.

    ``satisfied``: share of rubrics met, of a yes/no judge its score. ``official``: the score as the benchmark's own
    script reads the reply, None if it cannot. ``unreadable``: not in the form asked for; counts as 0.
    """

    score: int  # 0 or 1
    satisfied: float
    official: int | None
    unreadable: bool = False
    reason: str = ""  # why the score is not simply what the judge said


@dataclass(frozen=True)
class Judgement:
    """One record judged. ``failed``: the endpoint gave no reply; ``reason`` says why. The rest as in Verdict."""

    id: str
    memory: str
    seed: int
    score: int
    satisfied: float
    official: int | None
    failed: bool
    unreadable: bool
    reason: str
    reply: str  # the judge's last one, "" if it was not asked or gave none
    judge_model: str
    prompt_sha256: str  # of the prompt as sent, record and all


class Judge(Protocol):
    """How a benchmark's answers are judged: what to ask, and how to read the reply."""

    name: str  # of the benchmark
    templates: dict[str, str]
    max_tokens: int | None
    temperature: float | None
    tries: int  # how often a judge is asked whose reply cannot be read

    def prompt(self, record: Record) -> str:
        """What to ask. Raises :class:`DataError` for a record without what the judge must be told."""
        ...

    def parse(self, reply: str, record: Record) -> Verdict:
        """The reply's verdict, whatever the reply is."""
        ...


def template_sha256(judge: Judge) -> str:
    """What identifies a judge's prompts: the sha256 of its templates as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(judge.templates, sort_keys=True).encode()).hexdigest()


def judge_account(judge: Judge, endpoint: Endpoint) -> dict[str, Any]:
    """Who judges, and how it is asked: two judgings with the same account may be put together."""
    return {
        "judge_model": endpoint.model,
        "url": endpoint.url,
        "template_sha256": template_sha256(judge),
        "max_tokens": judge.max_tokens,
        "temperature": None if "temperature" in endpoint.refused else judge.temperature,
    }


def prompt_sha256(prompt: str) -> str:
    """What identifies a prompt, and with it question, gold and prediction."""
    return hashlib.sha256(without_surrogates(prompt).encode()).hexdigest()


# ---- LongMemEval: yes or no, by the rule of the question's type (its own src/evaluation/evaluate_qa.py) ----

_CORRECT = (
    "Below are a question, its correct answer and the response of a model. Say yes if the response contains the "
    "correct answer. Say yes as well if the response means the same in other words, or if it contains all the "
    "intermediate steps that lead to the correct answer. Say no if it contains only a part of the information that "
    "the correct answer requires, and in every other case."
)
_RULES = {
    "general": _CORRECT,
    "temporal-reasoning": (
        f"{_CORRECT} Do not hold an off-by-one error in a count of days, weeks or months against the response: 19 days "
        "is correct where the answer is 18 days."
    ),
    "knowledge-update": (
        "Below are a question, its correct answer and the response of a model. The answer has changed over time. Say "
        "yes if the response contains the correct answer. If it mentions old information together with the updated "
        "answer, it is correct as long as the updated answer is the one that is required. Otherwise say no."
    ),
    "single-session-preference": (
        "Below are a question, a rubric that describes the personalised response that the user would like, and the "
        "response of a model. Say yes if the response satisfies what is desired. It need not reflect every point of "
        "the rubric: it is correct as long as it recalls and uses the user's personal information correctly. "
        "Otherwise say no."
    ),
    "abstention": (
        "Below are a question that cannot be answered, an explanation of why it cannot, and the response of a model. "
        "Say yes if the response identifies the question as unanswerable: it may say that the information is "
        "incomplete, or that something else is known but not what is asked for. Otherwise say no."
    ),
}
_GOLDS = {"single-session-preference": "Rubric", "abstention": "Explanation"}
_ENDINGS = {
    "single-session-preference": "Does the response satisfy the rubric?",
    "abstention": "Does the response identify the question as unanswerable?",
}
LONGMEMEVAL_TEMPLATES = {
    route: f"{rule}\n\nQuestion: {{question}}\n\n{_GOLDS.get(route, 'Correct Answer')}: {{gold}}\n\n"
    f"Model Response: {{prediction}}\n\n{_ENDINGS.get(route, 'Is the response correct?')} Answer yes or no only."
    for route, rule in _RULES.items()
}
ROUTES = {  # of question types
    "single-session-user": "general",
    "single-session-assistant": "general",
    "multi-session": "general",
    "temporal-reasoning": "temporal-reasoning",
    "knowledge-update": "knowledge-update",
    "single-session-preference": "single-session-preference",
}


class LongMemEvalJudge:
    """Yes or no, with the decision rule of the question's type; ``_abs`` in an id takes precedence over the type."""

    name = "longmemeval"
    templates = LONGMEMEVAL_TEMPLATES
    temperature: float | None = 0.0
    tries = 1  # the same prompt at temperature 0 gives the same reply

    def __init__(self, max_tokens: int | None = 10) -> None:
        """``max_tokens``: more for a judge that thinks before it answers."""
        self.max_tokens = max_tokens

    def prompt(self, record: Record) -> str:
        kind = record["judging"].get("question_type")
        if kind not in ROUTES:
            raise DataError(
                f"question {record['id']}: question_type is {kind!r}; this judge knows only {', '.join(ROUTES)}"
            )
        route = "abstention" if "_abs" in record["id"] else ROUTES[kind]
        return self.templates[route].format(
            question=record["question"], gold=" or ".join(record["gold"]), prediction=record["prediction"]
        )

    def parse(self, reply: str, record: Record) -> Verdict:
        official = int("yes" in reply.lower())  # so does "no, although yesterday ..."
        first = re.search(r"[^\W_]+", said(reply))
        word = first.group().lower() if first else ""
        if word not in ("yes", "no"):
            return Verdict(0, 0.0, official, unreadable=True, reason="unreadable: the first word is not yes or no")
        score = int(word == "yes")
        return Verdict(score, float(score), official)


# ---- CL-bench: a list of rubrics, all of which must be met (its own eval.py) ----

_STATUS, _SCORE = "List of Requirement Satisfaction Status", "Overall Score"
# An odd or cut-off JSON still has them: inside a JSON string their quotes would be escaped.
_STATUS_LIST = re.compile(rf'"{_STATUS}"\s*:\s*\[([^\]]*)\]', re.IGNORECASE)
_SCORE_VALUE = re.compile(rf'"{_SCORE}"\s*:\s*"?([01])\b(?!\.)', re.IGNORECASE)

CLBENCH_TEMPLATES = {
    "rubrics": (
        "You are a rigorous teacher who grades how well a response follows its instructions. Grading is strict, "
        "all or nothing: the overall score is 1 only if every single rubric is fully satisfied, otherwise it is "
        "0.\n\n"
        "Go through these steps:\n"
        "1. List the explicit and implicit requirements of the rubrics, with concrete criteria for each.\n"
        "2. Check the response against each requirement.\n"
        "3. Look back at your grading: is it complete, strict, consistent and objective?\n\n"
        "Rubrics:\n{rubrics}\n\n"
        "Student Response:\n{prediction}\n\n"
        "Reply with this JSON object and nothing else, its keys in this order:\n"
        f'{{{{"{_STATUS}": [{{count}}, each "yes" or "no"], "{_SCORE}": 0 or 1, '
        '"Grading Rationale": "the reasons in a few sentences"}}'
    )
}


class ClBenchJudge:
    """All or nothing over the rubrics. The judge sees rubrics and response, not the context.

    The score is ours: 1 if the judge's list has a status for every rubric and all are yes. Its own overall score is
    kept as ``official``. Status and score come before the rationale, so that a reply that is cut off has them.
    """

    name = "clbench"
    templates = CLBENCH_TEMPLATES
    max_tokens: int | None = None
    temperature: float | None = None
    tries = 3

    def prompt(self, record: Record) -> str:
        rubrics = _rubrics(record)
        return self.templates["rubrics"].format(
            rubrics="\n".join(f"{n}. {rubric}" for n, rubric in enumerate(rubrics, 1))
            or "No specific rubrics provided.",
            count=f"{len(rubrics)} in all, one per rubric in their order" if rubrics else "one per requirement",
            prediction=record["prediction"],
        )

    def parse(self, reply: str, record: Record) -> Verdict:
        text = said(reply)
        scores, lists = _SCORE_VALUE.findall(text), _STATUS_LIST.findall(text)
        own = int(scores[-1]) if scores else None  # the last: a judge may repeat the form before it fills it in
        status = _statuses(lists[-1]) if lists else []
        wanted = len(_rubrics(record)) or max(len(status), 1)
        if len(status) != wanted or not {"yes", "no"}.issuperset(status):
            return Verdict(0, 0.0, own, unreadable=True, reason=f"unreadable: no list of {wanted} yes or no")
        score = int("no" not in status)
        reason = "" if own in (None, score) else f"the judge's own overall score is {own}"
        return Verdict(score, status.count("yes") / wanted, own, reason=reason)


def _statuses(inside: str) -> list[str]:
    """The entries between the brackets of a list as "yes" or "no", or as they are: some judges number them."""
    entries: list[Any]
    try:
        entries = json.loads(f"[{inside.strip().removesuffix(',')}]")
    except ValueError:
        entries = [entry for entry in inside.split(",") if entry.strip()]
    found = []
    for entry in entries:
        text = ("yes" if entry else "no") if isinstance(entry, bool) else str(entry).lower()
        said = re.match(r"\W*(?:\d+\W+)?(yes|no)\b", text)
        found.append(said.group(1) if said else text)
    return found


def _rubrics(record: Record) -> list[str]:
    rubrics = record["judging"].get("rubrics")
    if not isinstance(rubrics, list) or not all(isinstance(rubric, str) for rubric in rubrics):
        raise DataError(f"question {record['id']}: 'rubrics' must be a list of texts; is this a run of CL-bench?")
    return rubrics


# ---- judging many records ----


def judge_records(
    records: Sequence[Record],
    judge: Judge,
    endpoint: Endpoint,
    progress: Callable[[Judgement], None] | None = None,
    workers: int = 8,
) -> list[Judgement]:
    """One judgement per record, in their order, from ``workers`` calls at a time.

    ``progress`` gets each judgement as soon as it is there, in the calling thread, so that it can be put on disk. An
    empty prediction is 0 without a call. Raises :class:`DataError` for an unfit record before anything is asked.
    """
    prompts = [judge.prompt(record) for record in records]
    pool = ThreadPoolExecutor(workers)
    try:
        judgements = [
            pool.submit(_judge, record, prompt, judge, endpoint)
            for record, prompt in zip(records, prompts, strict=True)
        ]
        for judgement in as_completed(judgements):
            if progress is not None:
                progress(judgement.result())
        return [judgement.result() for judgement in judgements]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # an interrupt need not wait for calls not yet made


def _judge(record: Record, prompt: str, judge: Judge, endpoint: Endpoint) -> Judgement:
    reply, failed = "", False
    if not record["prediction"].strip():
        verdict = Verdict(0, 0.0, 0, reason="empty answer")
    else:
        try:
            for _ in range(judge.tries):
                reply = endpoint.ask(prompt, judge.max_tokens, judge.temperature)
                verdict = judge.parse(reply, record)
                if not verdict.unreadable:
                    break
        except EndpointError as error:
            verdict, failed = Verdict(0, 0.0, None, reason=str(error)), True
    return Judgement(
        id=record["id"],
        memory=record["memory"],
        seed=record["seed"],
        score=verdict.score,
        satisfied=verdict.satisfied,
        official=verdict.official,
        failed=failed,
        unreadable=verdict.unreadable,
        reason=verdict.reason,
        reply=reply,
        judge_model=endpoint.model,
        prompt_sha256=prompt_sha256(prompt),
    )
