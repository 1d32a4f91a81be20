"""What the documentation says can be run, and what it names is there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tmem.agent.episode import Ask, Episode
from tmem.evaluation import evaluate
from tmem.model import HFEngine, Model, load
from tmem.policies import make_agent

ROOT = Path(__file__).parent.parent
CORE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def defined() -> dict[str, Any]:
    """What the examples of the tour define, each run in a place of its own."""
    found: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", CORE, re.DOTALL):
        own: dict[str, Any] = {}
        exec(example, own)
        found |= own
    return found


@pytest.fixture(scope="module")
def model() -> Model:
    return load("persona-nano")


def test_one_pair_goes_its_way_by_hand(defined: dict[str, Any]) -> None:
    [(question, answer)] = defined["pairs"]
    assert answer == "Lisbon" and defined["account"].loss[-1] < defined["account"].loss[0]
    assert (defined["row"], defined["answer"].text.strip()) == (0, "Lisbon"), question
    assert (defined["asked"], defined["found"].source) == ("What is Otto's job?", "nothing")


def test_line_counts_of_the_tour_are_near(defined: dict[str, Any]) -> None:
    for row in re.findall(r"^\| \d \| (`.*?) \| ([\d, ]+) \|", CORE, re.MULTILINE):
        for path, lines in zip(re.findall(r"`(.*?)`", row[0]), row[1].split(", "), strict=True):
            there = len((ROOT / "src" / "tmem" / path).read_text(encoding="utf-8").splitlines())
            assert abs(there - int(lines)) <= 0.05 * there, f"{path}: {there} lines"


def test_the_memory_policy_of_the_tour_works(defined: dict[str, Any], model: Model) -> None:
    agent = replace(make_agent(model), policy=defined["Sentences"], budget=16)
    stream = tuple(f"Ana said something. Ana lives in town {number}." for number in range(4))
    [trajectory] = agent.run([Episode("me", stream, (Ask("q", "Where does Ana live?"),))])
    assert trajectory.triggers > 0 and "q" in trajectory.answers
    assert "Ana lives in town 1." in model.decode(trajectory.actions[-1].prompt_ids)


def test_the_benchmark_and_the_engine_of_the_tour_work(defined: dict[str, Any], model: Model) -> None:
    bench, engine = defined["Codes"](), defined["Counting"](HFEngine(model))
    summary, records = evaluate(make_agent(model, memory="full", engine=engine), bench)
    questions = [record for record in records if record["type"] == "question"]
    assert summary["n"] == bench.count(0) == len(questions) and engine.tokens > 0
    assert questions[0]["gold"] == ("4711",) and "f1" in questions[0]["scores"]["tmem_token"]


def test_the_recipes_of_the_tour_work(defined: dict[str, Any], model: Model) -> None:
    for name in ("slim", "plain"):
        agent = make_agent(model, defined[name], "gold", question_known=False, write_tail=True)
        told = Episode("me", ("Ana lives in Lyon.",), (Ask("q", "Where?"),), gold=(("Where?", "Lyon", 0),))
        [trajectory] = agent.run([told])
        assert trajectory.writes[0].account.applied and trajectory.writes[0].account.loss


def test_what_the_tour_names_is_there() -> None:
    folder = ""
    for path, test in re.findall(r"`([a-z_]*/?test_\w+\.py)(?:::(test_\w+))?`", CORE):
        folder = path.rsplit("/", 1)[0] if "/" in path else folder
        file = ROOT / "tests" / (path if "/" in path else f"{folder}/{path}")
        assert file.exists(), path
        assert not test or f"def {test}(" in file.read_text(encoding="utf-8"), test
    for path in re.findall(
        r"`((?:agent|model|fastweights|policies|store|tasks|training|cli)/(?!test_)[\w/]+\.py)", CORE
    ):
        assert (ROOT / "src" / "tmem" / path).exists(), path
