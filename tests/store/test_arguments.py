"""What calls take: arguments that an editor knows, other libraries' names, and one line for what cannot work."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from tmem import Memory
from tmem.errors import UsageError

PAIR = ("What is Ana's city?", "Rome")


def test_every_argument_of_a_call_can_be_completed_by_an_editor() -> None:
    for name, call in inspect.getmembers(Memory, inspect.isfunction):
        for parameter in inspect.signature(call).parameters.values():
            if not name.startswith("_") and parameter.kind is parameter.VAR_KEYWORD:
                assert (parameter.name, parameter.annotation) == ("ids", "Unpack[Ids]")


def test_calls_of_another_shape_are_taken_where_they_are_plain_and_else_refused_by_name(memory: Memory) -> None:
    [pair] = memory.add(pairs=[PAIR], user_id="u", run_id="r").pairs
    whose = {"user_id": "u", "run_id": "r"}
    assert memory.search("city", filters=whose) == memory.search("city", user_id="u", filters={"run_id": "r"})
    assert [row["id"] for row in memory.get_all(filters=whose)] == [pair["id"]] and not memory.get_all(user_id="u")
    [new] = memory.update(memory_id=pair["id"], text="Lyon", user_id="u", run_id="r").pairs
    assert (new["answer"], new["supersedes"]) == ("Lyon", pair["id"])
    strange: Any = {"AND": [{"user_id": "u"}]}
    for call, words in (
        (lambda: memory.search("city", filters=strange), "only say user_id, agent_id and run_id, not 'AND'"),
        (lambda: memory.get_all(filters={"created_at": "2023"}), "not 'created_at'"),
        (lambda: memory.get_all(filters={}), "whose memory"),
        (lambda: memory.get_all(filters={"user_id": ["u"]}), "user_id must be a text, not list"),  # type: ignore
        (
            lambda: memory.search("city", user_id="v", filters=whose),
            "user_id is 'v' in the call and 'u' in its filters",
        ),
        (lambda: memory.search("city", filters="u"), "filters must be a dict"),  # type: ignore[arg-type]
        (lambda: memory.update(pair["id"], memory_id="x", text="y", user_id="u"), "are the same: give one of them"),
        (lambda: memory.update(pair["id"], user_id="u"), "update needs answer"),
        (lambda: memory.add("Hi.", expiration_date="2030-01-01", user_id="u"), "expiration_date: pairs do not expire"),
    ):
        with pytest.raises(UsageError, match=words):
            call()


def test_arguments_are_looked_at(memory: Memory, tmp_path: Path) -> None:
    mine = memory.scope("u")
    mine.add(pairs=[PAIR])
    for call, words in (
        (lambda: mine.get_all(status="all"), "choose one of active, pending"),
        (lambda: mine.search("city", top_k="5"), "top_k must be a whole number from 1"),  # type: ignore[arg-type]
        (lambda: mine.search("city", top_k=0), "top_k must be a whole number from 1"),
        (lambda: mine.ask("Who?", show_pairs=-1), "show_pairs must be a whole number from 0"),
        (lambda: mine.ask("Who?", version=1.0), "version must be the number, id or tag"),  # type: ignore[arg-type]
        (lambda: mine.rollback(True), "version must be the number, id or tag"),
        (lambda: mine.tag(1, "3"), "would be taken for a version's number"),
        (lambda: mine.tag(1, "v1-0a1b2c3d4e5f"), "would be taken for a version's id"),
        (lambda: mine.tag(1, " "), "name is blank"),
        (lambda: mine.rollback(None), "version must be the number"),  # type: ignore[arg-type]
        (lambda: mine.tag(None, "a"), "version must be the number"),  # type: ignore[arg-type]
        (lambda: mine.export(tmp_path / "f", version=True), "version must be the number"),
        (lambda: mine.add(pairs=[PAIR], metadata={"x": float("nan")}), "metadata must be what JSON can hold"),
        (lambda: mine.add(pairs=[PAIR], metadata={"x": ["\ud800"]}), "metadata is not valid Unicode"),
        (lambda: mine.add("Hi.", roles=()), "roles is empty: name at least one"),
        (lambda: mine.add(pairs=[PAIR], metadata={1: "x"}), "its keys must be texts"),  # type: ignore[dict-item]
        (lambda: mine.add("x", infer="no"), "infer must be True or False"),  # type: ignore[arg-type]
        (lambda: mine.add("x", absorb=0), "absorb must be True or False"),  # type: ignore[arg-type]
        (lambda: mine.chat("x", learn="no"), "learn must be True or False"),  # type: ignore[arg-type]
        (lambda: mine.verify(deep="no"), "deep must be True or False"),  # type: ignore[arg-type]
        (lambda: mine.rebuild(adopt="no"), "adopt must be True or False"),  # type: ignore[arg-type]
        (lambda: memory.doctor(fix="no"), "fix must be True or False"),  # type: ignore[arg-type]
        (lambda: mine.add("x", roles="user"), "roles must be a list of texts"),
        (lambda: mine.add("x", roles=[""]), "one of roles is blank"),
        (lambda: mine.add("x", progress=5), "progress must be a function"),  # type: ignore[arg-type]
        (lambda: mine.add({"role": None, "content": "x"}), "'role' and 'name' are texts"),
        (lambda: mine.add({"role": "user", "name": 5, "content": "x"}), "'role' and 'name' are texts"),
        (lambda: mine.chat("x", sampling=0.5), "sampling must be a tmem"),  # type: ignore[arg-type]
        (lambda: mine.export(None), "path must be a path"),  # type: ignore[arg-type]
        (lambda: mine.import_(5), "path must be a path"),  # type: ignore[arg-type]
        (lambda: mine.save_pretrained(""), "folder must be a path"),
        (lambda: memory.backup("a\0b"), "folder must be a path"),
        (lambda: Memory(lambda: 1 / 0, " "), "home must be a path"),  # type: ignore[arg-type, return-value]
        (lambda: Memory(lambda: 1 / 0, tmp_path, threads=0), "threads must be a whole number"),  # type: ignore[arg-type, return-value]
        (lambda: Memory(5, tmp_path), "model must be a name"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError, match=words):
            call()


def test_the_own_folder_is_written_as_in_a_shell(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    memory.add(pairs=[PAIR], user_id="u")
    memory.export("~/u.jsonl", user_id="u")
    memory.import_("~/u.jsonl", user_id="v")
    memory.backup("~/copy")
    assert {"u.jsonl", "copy"} <= {path.name for path in tmp_path.iterdir()} and not Path("~").exists()
    assert memory.ask(PAIR[0], user_id="v").text == memory.ask(PAIR[0], user_id="u").text
