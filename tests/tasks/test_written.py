"""Everyday English to train on: memories of a few lines, asked in other words."""

from __future__ import annotations

from tmem.tasks.written import MESSAGES, NEW, Written, lines
from tmem.texts import NO_INFORMATION


def test_each_fact_is_asked_in_another_wording_and_one_thing_of_each_line_was_never_said() -> None:
    bench = Written()
    tasks = list(bench.tasks(1))
    assert tasks == list(Written().tasks(2)) and bench.count(1) == sum(len(task.items) for task in tasks)
    own = {line["said"][0][1]: line for line in lines()[-NEW:] if line["pairs"]}
    assert sum(len(task.episode.units) for task in tasks) == len(own) > 2000
    for task in tasks:
        assert len(task.episode.units) <= MESSAGES
        assert [ask.id for ask in task.episode.asks] == [item.id for item in task.items]
        told = [next(line for said, line in own.items() if said in unit) for unit in task.episode.units]
        for item in task.items:
            if item.evidence:
                pairs = told[item.evidence[0]]["pairs"]
                assert any(item.question in pair["ask"][1:] and item.gold == (pair["answer"],) for pair in pairs)
            else:
                assert item.gold == (NO_INFORMATION,) and any(item.question in line["never"] for line in told)
        assert sum(not item.evidence for item in task.items) == len(told)
