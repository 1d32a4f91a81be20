"""Arguments that no call can work with: one line that names them, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tmem import Memory
from tmem.errors import UsageError
from tmem.model import Model

HALF = "a\ud83d"  # half of a letter: SQLite cannot store it
CYCLE: dict[str, Any] = {}
CYCLE["itself"] = CYCLE
PAIR = ("Where does Ana live?", "Lyon")

CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "user": (lambda m: m.ask("Where?", user_id=HALF), "user_id 'a.ud83d' is not valid Unicode"),
    "agent": (lambda m: m.add("Hi.", agent_id=HALF), "agent_id"),
    "run": (lambda m: m.scope("u", None, HALF), "run_id"),
    "user is a number": (lambda m: m.stats(user_id=7), "user_id must be a text, not int"),
    "id": (lambda m: m.get(HALF, user_id="u"), "pair_id"),
    "id in a history": (lambda m: m.history(HALF, user_id="u"), "pair_id"),
    "id that is updated": (lambda m: m.update(HALF, "x", user_id="u"), "pair_id"),
    "id that is forgotten": (lambda m: m.forget([HALF], user_id="u"), "an id"),
    "id that is deleted": (lambda m: m.delete(None, user_id="u"), "an id must be a text, not None"),
    "ids are a text": (lambda m: m.forget("abcdef", user_id="u"), "must be a list of ids, not str"),
    "tag": (lambda m: m.tag(1, HALF, user_id="u"), "name"),
    "status": (lambda m: m.get_all(status=HALF, user_id="u"), "status"),
    "timestamp": (lambda m: m.add("Hi.", timestamp=HALF, user_id="u"), "timestamp"),
    "timestamp is a number": (lambda m: m.add(pairs=[PAIR], timestamp=2024, user_id="u"), "timestamp 2024 is no date"),
    "timestamp of a turn": (lambda m: m.chat("Hi.", timestamp=2024, user_id="u"), "timestamp 2024 is no date"),
    "answer": (lambda m: m.update("abcd", 7, user_id="u"), "answer must be a text"),
    "question": (lambda m: m.ask(None, user_id="u"), "question must be a text"),
    "query": (lambda m: m.search(3, user_id="u"), "query must be a text"),
    "pair of three": (lambda m: m.add(pairs=[PAIR, (*PAIR, "x")], user_id="u"), "pair 2 of pairs must be two texts"),
    "pair of numbers": (lambda m: m.add(pairs=[(1, 2)], user_id="u"), "pair 1"),
    "pair is a text": (lambda m: m.add(pairs=["ab"], user_id="u"), "pair 1"),
    "pair is nothing": (lambda m: m.add(pairs=[None], user_id="u"), "pair 1"),
    "pairs are a dict": (lambda m: m.add(pairs=dict([PAIR]), user_id="u"), "must be a list of"),
    "metadata": (lambda m: m.add("Hi.", metadata={"a": {1, 2}}, user_id="u"), "metadata must be what JSON can hold"),
    "metadata in a circle": (lambda m: m.add("Hi.", metadata=CYCLE, user_id="u"), "metadata must be"),
    "metadata is a list": (lambda m: m.add("Hi.", metadata=[1], user_id="u"), "metadata must be a dict"),
    "messages": (lambda m: m.add(None, user_id="u"), "messages must be a text"),
    "turn is a number": (lambda m: m.chat([5, "Hi?"], user_id="u"), "a message is a text"),
    "turn without text": (lambda m: m.chat([{"role": "assistant"}, "Hi?"], user_id="u"), "a message is a text"),
    "format": (lambda m: m.export("x", format="xml", user_id="u"), "choose ledger, peft or gguf"),
}


@pytest.mark.parametrize("case", CALLS)
def test_what_no_call_can_work_with(memory: Memory, case: str) -> None:
    call, words = CALLS[case]
    with pytest.raises(UsageError, match=words) as caught:
        call(memory)
    assert "\n" not in str(caught.value) and str(caught.value).encode()
    assert memory.get_all(status=None, user_id="u") == [] and memory.versions(user_id="u") == []


def test_what_is_iterated_once_works(memory: Memory) -> None:
    receipt = memory.add(pairs=(pair for pair in [list(PAIR)]), user_id="u")  # type: ignore[arg-type]
    assert [row["answer"] for row in receipt.pairs] == ["Lyon"]


def test_one_call_exports_both_formats(memory: Memory, model: Model, tmp_path: Path) -> None:
    memory.add(pairs=[PAIR], user_id="u")
    assert memory.export(tmp_path / "ledger.jsonl", user_id="u") == 1
    assert memory.export(tmp_path / "adapter", format="peft", version=1, user_id="u") == 1
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
