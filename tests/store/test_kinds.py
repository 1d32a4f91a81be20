"""Homes as they are really used: odd places, forks, slips of names, two at once, taken back and taken away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import checkpoints
import pytest
import torch
from store.fakes import FakeTrainer

from tmem import Memory
from tmem.errors import IntegrityError, ModelError, StoreError
from tmem.model import Model
from tmem.store.care.backup import backup, restore
from tmem.store.chat import _prompt
from tmem.store.home import Home
from tmem.store.ledger import database
from tmem.store.ledger.queries import NewPair
from tmem.store.weights.states import processor
from tmem.store.weights.trainer import FastWeightTrainer, PairsTrainer

ANA, BEN = ("ana@example.org", None, None), ("ben", None, None)
PAIR = ("What is Ana's city?", "Rome")


def open_home(path: Path) -> Home:
    return Home(path, FakeTrainer())


def told(home: Home, question: str, names: tuple[str | None, str | None, str | None] = ANA) -> str:
    scope = home.scope(names)
    home.tell(scope, [NewPair(question, "x")], f"text of {question}")
    home.absorb(scope)
    return scope


def questions(home: Home, scope: str) -> list[str]:
    return [pair.question for pair in home.ledger(scope).current().values()]


@pytest.mark.parametrize("name", ["who?a", "a#b", "a%20b", "a b", "a&b=c", "ä", "a;b", "file:x", "a'b", 'a"b', "-a"])
def test_a_home_lies_where_it_was_put_whatever_its_name(tmp_path: Path, name: str) -> None:
    home, other = open_home(tmp_path / name), open_home(tmp_path / f"{name}b")
    scope = told(home, "q")
    assert questions(home, scope) == ["q"] and not other.known(scope)
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}b"}
    assert oct((tmp_path / name / "tmem.db").stat().st_mode)[-3:] == "600"
    backup(tmp_path / name, tmp_path / f"{name}c")
    assert questions(open_home(tmp_path / f"{name}c"), scope) == ["q"]


def test_a_home_that_is_removed_or_exchanged_while_it_is_open_takes_nothing(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    scope = told(home, "q")
    shutil.rmtree(tmp_path / "home")
    for call in (lambda: told(home, "r"), lambda: home.ledger(scope)):
        with pytest.raises(StoreError, match="removed or exchanged"):
            call()
    open_home(tmp_path / "home").close()
    with pytest.raises(StoreError, match="removed or exchanged"):
        told(home, "r")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_process_is_told_to_open_it_again_and_does_not_hang(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    scope = told(home, "q")
    with home.lock(scope):  # as if another thread were at it
        child = os.fork()
        if child == 0:
            try:
                told(home, "r")
            except StoreError as error:
                os._exit(0 if "forked" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert questions(home, scope) == ["q"]


def test_looking_makes_no_memory_and_users_are_listed(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    scope = told(home, "q")
    slip = home.scope(("anna@example.org", None, None))
    assert home.head(slip) is None and home.ledger(slip).versions == {} and home.made_with(slip) is None
    assert list(home.scopes().values()) == ["ana@example.org"]
    told(home, "r", BEN)
    found = [(row["user_id"], row["pairs"]) for row in home.users()]
    assert found == [("ana@example.org", 1), ("ben", 1)] and home.known(scope) and not home.known(slip)


LOOKS = """
import sys
from tmem import Memory, cli

home = sys.argv[1]
with Memory(lambda: 1 / 0, home) as memory:
    [pair] = memory.get_all(user_id="ben")
whose, first = f"-u ben --home {home}", pair["id"]
for look in ("--help", "--version", "list --help", f"models", f"users --home {home}", *(f"{look} {whose}" for look in (
    "list --all", "search q", f"get {first}", f"history {first}", "versions", "diff 1 1", "stats",
    f"export {home}/ledger"
))):
    sys.argv = ["tmem", *look.split()]
    try:
        cli.main()
    except SystemExit as stop:
        assert not stop.code, look
print({"torch", "transformers", "safetensors.torch"} & sys.modules.keys() or "none")
"""


def test_looking_needs_neither_torch_nor_transformers(tmp_path: Path) -> None:
    told(open_home(tmp_path / "home"), "q", BEN)
    command = [sys.executable, "-c", LOOKS, str(tmp_path / "home")]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()[-1] == "none"


@pytest.mark.parametrize("log", [False, True])
def test_a_home_that_can_only_be_read_is_looked_at_and_asked(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: bool
) -> None:
    path = tmp_path / "a#home?"
    memory = Memory(model, path)
    [pair] = memory.add(pairs=[PAIR], user_id="u").pairs
    if not log:  # as whoever writes it, or was killed, leaves it
        memory.close()
    monkeypatch.setattr("tmem.store.ledger.database.only_read", lambda file: file.parent == path)
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.rglob("*.*")}
    with Memory(model, path) as only:
        mine = only.scope("u")
        assert mine.ask(PAIR[0]).text == "Rome" and [row["id"] for row in mine.get_all()] == [pair["id"]]
        assert mine.history(pair["id"]) and mine.versions() and mine.stats() and only.users()
        assert mine.diff(1, 1) == {"added": [], "removed": []} and mine.export(tmp_path / "ledger") == 1
        assert mine.verify(deep=True)["steps"] == 1 and only.doctor() == [] and only.backup(tmp_path / "copy") == 1
        for call in (
            lambda: mine.add(pairs=[("Who?", "Bo")]),
            lambda: only.add(pairs=[("Who?", "Bo")], user_id="new"),
            lambda: mine.forget([pair["id"]]),
            lambda: mine.tag(1, "good"),
            mine.erase,
            lambda: only.doctor(fix=True),
        ):
            with pytest.raises(StoreError, match=r"a#home\?: this home can only be read here"):
                call()
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.rglob("*.*")} == before
    with Memory(model, tmp_path / "copy") as copy:
        assert copy.ask(PAIR[0], user_id="u").text == "Rome" and copy.delete_all(user_id="u").version
    monkeypatch.undo()
    assert database.only_read(path / "tmem.db") is False is database.only_read(tmp_path / "none" / "tmem.db")
    monkeypatch.setattr(os, "access", lambda file, how: file != path / "tmem.db")
    assert database.only_read(path / "tmem.db")


def test_a_backup_becomes_the_home_again_whatever_log_was_left_there(tmp_path: Path) -> None:
    path = tmp_path / "home"
    home = open_home(path)
    scope = told(home, "q")
    backup(path, tmp_path / "copy")
    told(home, "later")
    assert (path / "tmem.db-wal").exists()  # as a killed process leaves it
    assert restore(tmp_path / "copy", path) == tmp_path / "home.before-1"
    assert questions(open_home(path), scope) == ["q"]
    with pytest.raises(StoreError, match="exchanged"):
        told(home, "r")
    assert questions(open_home(tmp_path / "home.before-1"), scope) == ["q", "later"]
    assert restore(tmp_path / "copy", tmp_path / "elsewhere") is None
    assert restore(tmp_path / "copy", path) == tmp_path / "home.before-2"
    for bad in (tmp_path / "nothing", tmp_path):
        with pytest.raises(StoreError, match="no backup"):
            restore(bad, path)
    assert questions(open_home(path), scope) == ["q"]
    assert not list(tmp_path.glob(".*"))


def test_two_threads_that_delete_all_both_succeed(memory: Memory) -> None:
    memory.add(pairs=[PAIR, ("What is Ana's job?", "baker")], user_id="u")
    errors = list[BaseException]()

    def delete() -> None:
        try:
            memory.delete_all(user_id="u")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=delete) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and memory.get_all(user_id="u") == []


def test_two_that_open_a_home_and_delete_all_both_succeed(model: Model, tmp_path: Path) -> None:
    with Memory(model, tmp_path, recipe="sgd") as one, Memory(model, tmp_path, recipe="sgd") as other:
        one.add(pairs=[PAIR], user_id="u")
        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(memory.delete_all, user_id="u") for memory in (one, other)]
        assert sorted(len(call.result().details["ids"]) for call in done) == [0, 1] and other.get_all(user_id="u") == []


def test_a_quarantine_has_its_own_reason_whatever_the_clock_says(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(99, 0, -1))
    monkeypatch.setattr("tmem.store.ledger.queries.now", lambda: f"20{next(times):02}-01-01T00:00:00.000+00:00")
    mine, reasons = memory.scope("u"), iter(("too large", "not finite", "lost", "lost"))
    monkeypatch.setattr(FastWeightTrainer, "_refusal", lambda *_: next(reasons))
    told = [mine.add(pairs=[(f"Who is {name}?", "a friend")]).reason for name in ("Bo", "Cy")]
    assert told == ["quarantined: too large", "quarantined: not finite"]
    mine.add(pairs=[("Who is Di?", "a friend")], absorb=False)
    mine.add(pairs=[("Who is Ed?", "a friend")], absorb=False)
    assert mine.absorb().reason == "quarantined: lost" and mine.versions() == []


def test_what_was_said_of_a_pair_comes_back(memory: Memory) -> None:
    about = {"source": "chat", "tags": ["home"]}
    mine = memory.scope("u")
    [pair] = mine.add(pairs=[PAIR], metadata=about, timestamp="8 May 2023").pairs
    for row in (mine.get(pair["id"]), *mine.get_all(), *mine.history(pair["id"]), *mine.search("city")):
        assert (row["metadata"], row["timestamp"]) == (about, "2023-05-08")
    [other] = mine.add(pairs=[("Who?", "Bo")]).pairs
    assert (other["metadata"], other["timestamp"]) == (None, None)
    mine.forget([pair["id"]])
    assert mine.get_all(status="forgotten")[0]["metadata"] is None


def test_another_processor_is_named_and_is_no_damage(
    fresh_memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = fresh_memory.scope("u")
    mine.add(pairs=[PAIR])
    replay = Home.replay
    assert "made_on" not in mine.verify(deep=True)
    monkeypatch.setattr("tmem.store.home.processor", lambda: "ABACUS")
    monkeypatch.setattr("tmem.store.revise.processor", lambda: "ABACUS")

    def rounds_otherwise(own: Home, history: Any, state: Any = None, done: int = 0) -> Any:
        state = replay(own, history, state, done)
        if done == len(history):
            return state
        return {name: value * 1.001 if value.is_floating_point() else value for name, value in state.items()}

    monkeypatch.setattr(Home, "replay", rounds_otherwise)
    found = mine.verify(deep=True)
    assert 0.0005 < found["distance"] < 0.002 and (found["differ"], found["of"]) == (0, 1)
    assert found["made_on"] == processor()
    number = mine.home.head(mine.id)
    mine.tag(number, "first")
    assert "made_on" in mine.verify(deep=True) and mine.rollback(number).version == mine.version
    assert mine.verify(deep=True)["made_on"] == processor()  # going back trains nothing
    for path in (tmp_path / "home" / "scopes").rglob("*.safetensors"):
        path.unlink()  # only a cache
    mine.home.drop_states(mine.id)
    with pytest.raises(IntegrityError, match=r"is missing; it was made on a processor with .*: tmem rebuild --all"):
        mine.ask(PAIR[0])
    [*_, finding] = fresh_memory.doctor(fix=True)
    assert "and this one with ABACUS rounds otherwise: tmem rebuild --all takes the home over" in finding.remedy
    assert [done for _, done, _ in fresh_memory.rebuild_all()] == [1] and list(fresh_memory.rebuild_all()) == []
    assert mine.ask(PAIR[0]).text == "Rome" and "made_on" not in mine.verify(deep=True)


def test_forgetting_and_adding_where_another_processor_made_the_weights(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = {"steps": 3, "steps_per_pair": 0, "held": 0, "block": 4}
    settings = model.settings.model_copy(update={"recipes": {"tmem": {"lr": 0.005, "fresh": fresh}}})
    quick = Model(model.name, model.directory, model.hf, model.tokenizer, settings)
    train = PairsTrainer.train

    def rounds_otherwise(own: PairsTrainer, state: Any, step: Any, look: bool = True) -> Any:
        done = train(own, state, step, look)  # what was there before is as it was
        kept = {place: row for row, place in enumerate(state["about.blocks"].tolist())}
        made = {
            name: torch.stack([state[name][kept[place]] if place in kept else row * 1.001 for place, row in blocks])
            if not name.startswith("about.")
            else value
            for name, value in done.state.items()
            for blocks in [list(zip(done.state["about.blocks"].tolist(), value, strict=False))]
        }
        return replace(done, state=made)

    with Memory(quick, tmp_path / "home") as memory:
        mine = memory.scope("u")
        pairs = [(f"What is Ana's {letter}?", letter) for letter in "abcdefghij"]
        ids = [row["id"] for row in mine.add(pairs=pairs).pairs]
        monkeypatch.setattr(PairsTrainer, "train", rounds_otherwise)
        for place in ("home", "revise"):
            monkeypatch.setattr(f"tmem.store.{place}.processor", lambda: "ABACUS")
        mine.add(pairs=[("What is Ben's a?", "b")])
        found = mine.verify(deep=True)
        assert found["made_on"] == f"{processor()}, then ABACUS" and found["distance"] > 0
        mine.forget([ids[7]])
        assert "made_on" not in mine.verify(deep=True) and memory.doctor() == []


def test_a_whole_block_of_anything_is_put_in_force(fresh_memory: Memory) -> None:
    pairs = [(f"{number * 7919 % 1000} of {number}?", str(number * 104729 % 9973)) for number in range(40)]
    receipt = fresh_memory.add(pairs=pairs, user_id="u")
    assert receipt.reason is None and {pair["status"] for pair in receipt.pairs} == {"active"}
    assert all(fresh_memory.ask(question, user_id="u").text == answer for question, answer in pairs)


def test_what_waits_to_be_written_is_told_more_and_corrected(fresh_memory: Memory) -> None:
    mine = fresh_memory.scope("u")
    mine.add(pairs=[PAIR], absorb=False)
    mine.add(pairs=[("What is Ana's job?", "baker")])  # takes in what waits
    mine.add(pairs=[("What is Bo's job?", "cook")], absorb=False)
    for question, answer in ((PAIR[0], "Lyon"), ("What is Bo's job now?", "pilot"), ("Which job has Bo?", "pilot")):
        assert mine.add(pairs=[(question, answer)], absorb=False).pairs[0]["status"] == "pending"
    assert [row["supersedes"] is None for row in mine.get_all(status="pending")] == [True, False, False, True]


def test_a_model_with_an_image_tower_is_written_to(tmp_path: Path) -> None:
    with Memory(checkpoints.make_published(tmp_path / "model", "gemma3", "gemma2"), tmp_path / "home") as memory:
        assert type(memory.scope("u").model.hf).__name__ == "Gemma3ForConditionalGeneration"
        assert memory.add(pairs=[PAIR], user_id="u").pairs[0]["status"] == "active"
        assert memory.ask(PAIR[0], user_id="u").text == "Rome"


@pytest.mark.parametrize(
    ("name", "words"),
    [("qwen3_next", "layers of the kind linear_attention are not supported"), ("gpt2", "no stack of decoder layers")],
)
def test_a_model_that_cannot_be_written_to_is_refused_when_it_is_opened(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        Memory(checkpoints.make_published(tmp_path / "model", name, "qwen3"), tmp_path / "home")
    assert "\n" not in str(error.value) and not (tmp_path / "home").exists()


def test_turns_that_a_template_refuses_are_joined_or_refused_before_anything_is_learned() -> None:
    class Insists:
        """Turns alternate, and the user begins; a word is a token."""

        window = 60

        def count(self, text: str) -> int:
            return len(text.split())

        def encode_chat(self, messages: list[dict[str, str]]) -> Any:
            if [one["role"] for one in messages] != ["user", "assistant"] * (len(messages) // 2) + ["user"]:
                raise ModelError("its chat template refuses these messages")
            return Prompt(messages)

    class Prompt(list[dict[str, str]]):
        """Of so many tokens."""

        def __len__(self) -> int:
            return sum(len(one["content"].split()) for one in self)

    memory: Any = SimpleNamespace(model=Insists())
    earlier = [("assistant", "Hello!"), ("user", "Hi."), ("user", "I moved."), ("assistant", "Where to?")]
    turns = [{"role": role, "content": text} for role, text in earlier]
    found: Any = _prompt(memory, turns, "To Rome.")
    assert [one["content"] for one in found] == ["Hi.\n\nI moved.", "Where to?", "To Rome."]
    with pytest.raises(ModelError):
        _prompt(memory, [{"role": "system", "content": "Be kind."}], "Hi.")
    # As many turns as there is room for, and the end of a long message.
    long = [{"role": role, "content": "It rains. " * 10} for role in ("user", "assistant")]
    found = _prompt(memory, [*long, *turns[1:]], "To Rome.")
    assert [one["content"] for one in found] == ["Hi.\n\nI moved.", "Where to?", "To Rome."]
    found = _prompt(memory, turns[1:], "It rains. " * 40 + "Where do I live?")
    assert len(found) <= 44 and found[-1]["content"].endswith("It rains. Where do I live?")


def test_a_question_that_is_too_long_is_asked_by_its_end(fresh_memory: Memory) -> None:
    fresh_memory.add(pairs=[PAIR], user_id="u")
    found = fresh_memory.ask("I was there again, and the weather was fine. " * 900 + PAIR[0], user_id="u")
    assert found.text


def test_a_terminal_that_lacks_a_letter_shows_another(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    told(home, "q", ("Łukasz", None, None))
    command = [sys.executable, "-m", "tmem", "users", "--home", str(tmp_path)]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert done.stdout.startswith(b"user ?ukasz: 1 pairs, since ")
