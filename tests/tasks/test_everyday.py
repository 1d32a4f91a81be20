"""Everyday English: the file keeps its own rules, and its tasks are the same every time."""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from tmem.dates import moment
from tmem.errors import UsageError
from tmem.evaluation import summarize
from tmem.evaluation.records.files import read_records
from tmem.evaluation.records.spec import Spec
from tmem.evaluation.runner import run
from tmem.evaluation.stats import unanswerable
from tmem.model import load
from tmem.tasks.everyday import HALVES, KINDS, Everyday, Statement, statements
from tmem.tasks.scoring import tmem_token
from tmem.texts import NO_INFORMATION

ALL = statements()
TASKS = [list(part) for _, part in groupby(ALL, lambda statement: statement.task)]
MONTH = re.compile(r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b")
# Words that carry no content, and what people are called by, which a question cannot say in other words.
COMMON = frozenset(
    """
    a about all am an and are as at be been by can did do does done for from get got had has have how i if in into is
    it its long many may me mine more most much must my no not of off on one or our out over own shall should so some
    than that the their them then there these they this those to up was we were what when where which while who whom
    whose why will with would you your
    """.split()  # noqa: SIM905
)


def turns(statement: Statement) -> tuple[tuple[str, str], ...]:
    return statement.said + statement.later


def words(text: str) -> set[str]:
    """The words with content, cut so that forms of one word are one."""
    found = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", text.casefold())
    return {re.sub(r"['’]s$|(?<=\w{3})(?:ing|ed|es|s|e)$", "", word) for word in found if word not in COMMON}


def test_kinds_and_halves_are_balanced() -> None:
    assert len(ALL) >= 320 and len({statement.id for statement in ALL}) == len(ALL)
    assert {statement.kind for statement in ALL} == set(KINDS)
    for kind in KINDS:
        own = Counter(statement.half for statement in ALL if statement.kind == kind)
        assert own.total() >= 30 and own["dev"] == own["test"]
    questions = [question for statement in ALL for question in statement.questions]
    assert len(questions) >= 2 * len(ALL) and all(statement.questions for statement in ALL)
    # Beside a third of all statements, and beside every one of small talk, there is what nobody said.
    unsaid = [statement for statement in ALL if any(q.answer == NO_INFORMATION for q in statement.questions)]
    assert 3 * len(unsaid) >= len(ALL)


@pytest.mark.parametrize("statement", ALL, ids=lambda statement: statement.id)
def test_a_statement_is_well_formed(statement: Statement) -> None:
    assert statement.half in HALVES and statement.id.startswith(statement.kind)
    assert all(text == text.strip() != "" and '"' not in text for _, text in turns(statement))
    names = {name for name, _ in turns(statement)} - {""}
    if statement.kind == "two_speakers":
        assert len(names) == 2
        assert all(any(name in question.question for question in statement.questions) for name in names)
    if statement.kind == "corrections":
        assert len(turns(statement)) > 1
    if statement.kind == "dates":
        assert moment(statement.date)
    said = "\n".join(text for _, text in turns(statement)).casefold()
    for asked in statement.questions:
        assert asked.kind in KINDS and asked.question.endswith("?") and asked.question[:1].isupper()
        assert (asked.answer == NO_INFORMATION) == (asked.kind in ("never_said", "small_talk"))
        if asked.answer != NO_INFORMATION:
            assert 1 <= len(asked.answer.split()) <= 5
            told = asked.answer.casefold() in said or asked.answer in names
            assert told or asked.kind == "dates" or asked.answer == "No"
            assert (asked.kind == "dates") == bool(MONTH.search(asked.answer)) or statement.kind != "dates"
            assert all(year.removeprefix(asked.answer) == f" {statement.date[:4]}" for year in asked.others)
    if statement.kind == "small_talk":
        assert all(asked.answer == NO_INFORMATION for asked in statement.questions)
    else:
        assert any(asked.answer != NO_INFORMATION for asked in statement.questions)


def test_what_is_corrected_is_asked_for_as_it_is_now() -> None:
    for statement in ALL:
        if statement.kind == "corrections":
            first, last = turns(statement)[0][1].casefold(), turns(statement)[-1][1].casefold()
            answers = [asked.answer.casefold() for asked in statement.questions if asked.kind == "corrections"]
            assert answers and any(answer in last and answer not in first for answer in answers)


def test_questions_are_in_other_words() -> None:
    shares = []
    for statement in ALL:
        said = "\n".join(text for _, text in turns(statement))
        names = words(
            " ".join(re.findall(r"\b[^\W\d_a-z][^\W\d_]+", said)) + " " + " ".join(n for n, _ in statement.said)
        )
        for asked in statement.questions:
            if asked.answer != NO_INFORMATION and (own := words(asked.question) - names):
                shares.append(len(own - words(said)) / len(own))
    assert sum(shares) / len(shares) > 0.9
    assert sum(share >= 0.7 for share in shares) / len(shares) > 0.9


@pytest.mark.parametrize("told", TASKS, ids=lambda told: f"task {told[0].task}")
def test_the_statements_of_a_task_fit_together(told: list[Statement]) -> None:
    assert len(told) == 10 and len({statement.half for statement in told}) == 1
    assert {statement.kind for statement in told} == set(KINDS)
    assert len({statement.about for statement in told}) == 10
    asked = [question.question for statement in told for question in statement.questions]
    assert len(set(asked)) == len(asked)
    people = [name for statement in told for name in {name for name, _ in turns(statement)} if name]
    assert len(set(people)) == len(people)  # nobody speaks in two statements
    dates = [statement.date for statement in told if statement.date]
    assert dates == sorted(dates)


def test_no_question_and_no_statement_is_in_both_halves() -> None:
    dev, test = (list(Everyday(half).tasks(0)) for half in HALVES)
    assert len(dev) == len(test) >= 16
    first, second = (
        {text for task in own for text in [*task.episode.units, *(ask.text for ask in task.episode.asks)]}
        for own in (dev, test)
    )
    assert not first & second


def test_tasks_are_the_same_every_time() -> None:
    bench = Everyday()
    assert list(bench.tasks(1)) == list(Everyday("dev", official=True).tasks(2))
    assert bench.count(0, 2) == sum(len(task.items) for task in list(bench.tasks(0))[:2])
    about = bench.identity()
    assert about["file"] == "everyday.jsonl" and about["half"] == "dev" and "known" not in about
    assert about["sha256"] == Everyday("test").identity()["sha256"]
    for task in bench.tasks(0):
        assert [ask.id for ask in task.episode.asks] == [item.id for item in task.items]


def test_messages_are_read_as_a_conversation_is() -> None:
    [task] = [task for task in Everyday().tasks(0) if task.episode.id == "task 1"]
    units = task.episode.units
    assert len(units) == 11  # a correction comes in a message of its own, after all the others
    assert any(unit.startswith("I quit the bakery") for unit in units)
    assert any(unit.startswith("DATE: 1:56 pm on 8 May, 2023\nCONVERSATION:\nWe took the kids") for unit in units)
    assert any(re.match(r'Aoife said, ".*"\nBram said, ".*"$', unit) for unit in units)
    for item in task.items:
        if item.category == "corrections":
            assert item.evidence[-1] == 10 and item.gold == ("Thursday",)
        assert bool(item.evidence) != item.judging["abstention"]


def test_a_refusal_counts_where_nothing_was_said_and_nowhere_else() -> None:
    bench = Everyday()
    items = [item for task in bench.tasks(0) for item in task.items]
    for item in items:
        f1 = tmem_token(bench.prediction(item, f"\n{NO_INFORMATION}.\nNothing.", 0), item.gold, item.category).f1
        assert f1 == (1.0 if item.judging["abstention"] else 0.0)
        assert tmem_token(bench.prediction(item, f" {item.gold[-1]}\n", 0), item.gold, item.category).em == 1.0


def test_another_half_is_refused() -> None:
    with pytest.raises(UsageError, match="--half train: there are dev and test"):
        Everyday("train")


def test_a_task_runs_to_its_end(tmp_path: Path) -> None:
    few = {"fresh.steps": 4, "fresh.steps_per_pair": 0}  # what is written does not matter here
    spec = Spec("everyday", {"half": "dev"}, "persona-nano", changes=few, budget=1, write_tail=True)
    model = load("persona-nano")
    run(spec, model, ["tmem"], [1], tmp_path, limit=1)
    questions = [record for record in read_records(tmp_path) if record["type"] == "question"]
    assert len(questions) == Everyday().count(1, 1)
    assert {unanswerable(record) for record in questions} == {True, False}
    for record in questions:
        if unanswerable(record):
            assert (record["scores"]["tmem_token"]["em"] == 1.0) == (record["prediction"] == NO_INFORMATION)
    [memory] = summarize(read_records(tmp_path), Everyday.scorers)
    assert set(memory["by_category"]) == {record["category"] for record in questions}
