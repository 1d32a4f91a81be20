"""What was told word for word stays only as long as something follows from it, and goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tmem import Memory
from tmem.agent.extraction import QAPair
from tmem.store.actions import Actions
from tmem.store.contradiction import contradicted
from tmem.store.ledger import schema as db
from tmem.store.ledger.history import Pair
from tmem.store.weights import trainer

CAMPER = {"role": "user", "name": "Maria", "content": "I bought a camper to get around."}


def texts(memory: Memory) -> list[str]:
    with memory.scope("u").home.db.read() as connection:
        return [text for text in connection.execute(select(db.episodes.c.text)).scalars() if text is not None]


def anywhere(home: Path, text: str) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_text_that_gave_nothing_is_not_kept(memory: Memory) -> None:
    assert memory.add("Nothing to see here, zebra.", user_id="u").pairs == []
    assert memory.add("", pairs=[("What is Maria's job?", "baker")], metadata={"from": "form"}, user_id="u").pairs
    assert texts(memory) == []


def test_a_text_that_says_a_pair_again_goes_with_it(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [first] = memory.add(CAMPER, user_id="u").pairs
    both = [QAPair(first["question"], first["answer"]), QAPair("What is Maria's favourite colour?", "silver")]
    monkeypatch.setattr(Actions, "extract", lambda *_, **__: (both, [], 0))
    [added] = memory.add("My zebra camper is silver.", user_id="u").pairs
    assert added["answer"] == "silver" and len(texts(memory)) == 2
    memory.forget([first["id"]], user_id="u")
    assert texts(memory) == [] and memory.get(added["id"], user_id="u")["status"] == "active"
    memory.close()
    assert anywhere(tmp_path, "zebra") == []


def test_forgetting_everything_leaves_no_text(memory: Memory) -> None:
    receipt = memory.add(CAMPER, user_id="u")
    mine = memory.scope("u")
    mine.home.tell(mine.id, [], "an older home kept such texts")
    memory.forget([receipt.pairs[0]["id"]], user_id="u")
    assert texts(memory) == []


def test_what_waits_is_known_to_what_is_told_next(memory: Memory) -> None:
    question = "Where does Maria live?"
    for answer in ("Paris", "Lyon", "Lyon"):
        receipt = memory.add(pairs=[(question, answer)], absorb=False, user_id="u")
    assert receipt.pairs == [] and "duplicate" in receipt.rejected[0]["reason"]
    absorbed = memory.absorb(user_id="u")
    assert [row["status"] for row in absorbed.pairs] == ["superseded", "active"] and absorbed.reason is None
    assert [row["answer"] for row in memory.get_all(user_id="u")] == ["Lyon"]
    assert memory.absorb(user_id="u").reason == "nothing was left to be written"


def test_a_refused_write_says_why(memory: Memory, monkeypatch: Any) -> None:
    [row] = memory.add(pairs=[("What is Maria's job?", "baker")], user_id="u").pairs
    monkeypatch.setattr(memory.scope("u").trainer, "largest", 0.0)
    receipt = memory.update(row["id"], "pilot", user_id="u")
    assert receipt.pairs[0]["status"] == "quarantined" and "quarantined" in str(receipt.reason)
    assert memory.get(row["id"], user_id="u")["status"] == "active"


def test_who_gave_whom_makes_a_difference() -> None:
    told = [Pair("1", "What did Ana give Bo?", "a book")]
    assert contradicted(QAPair("What did Bo give Ana?", "a pen"), "a pen", told) is None
    assert contradicted(QAPair("What did Ana give Bo now?", "a pen"), "", told) == "1"


def test_a_receipt_says_what_is_recalled(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = memory.add(pairs=[("What is Maria's job?", "baker")], user_id="u")
    assert [row["recalled"] for row in receipt.pairs] == [True]
    assert memory.ask("What is Maria's job?", user_id="u").text == "baker"
    monkeypatch.setattr(trainer, "SURE", 0.0)  # as if nothing was ever sure
    receipt = memory.add(pairs=[("What is Ana's job?", "pilot")], user_id="u")
    assert [row["recalled"] for row in receipt.pairs] == [False]
    waiting = memory.add(pairs=[("What is Bo's job?", "nurse")], absorb=False, user_id="u")
    assert [row["recalled"] for row in waiting.pairs] == [None]
