"""Weights that follow from pairs alone: by whatever way they came, exactly forgotten, and everything can be asked."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tmem import Memory
from tmem.errors import DeltaError, IntegrityError, UsageError
from tmem.model import Model
from tmem.model.gate import Gate
from tmem.store.ledger.history import Pair, Step
from tmem.store.scoped import ScopedMemory
from tmem.store.weights.states import state_digest, weights
from tmem.store.weights.trainer import PairsTrainer, make_trainer

VEHICLE, COLOUR, JOB = (f"What is {thing}?" for thing in ("Maria's vehicle", "Kevin's favourite colour", "Maria's job"))
AROUND = "How does Maria get around?"
PAIRS = [(VEHICLE, "camper"), (COLOUR, "silver"), (JOB, "baker")]


@pytest.fixture(scope="module")
def hasty(model: Model) -> Model:
    """The model with a write of a few steps: what has to be exact is so however little it learns."""
    settings = model.settings.model_copy(
        update={"recipes": {"tmem": {"lr": 0.005, "fresh": {"steps": 3, "steps_per_pair": 0, "held": 0, "block": 8}}}}
    )
    other = Model(model.name, model.directory, model.hf, model.tokenizer, settings)
    return other


def step(pairs: list[tuple[str, str]], new: int) -> Step:
    every = tuple(Pair(str(place), *pair) for place, pair in enumerate(pairs))
    return Step(every[len(every) - new :], every[: len(every) - new], seed=random.randrange(99))


def test_the_way_does_not_matter(hasty: Model) -> None:
    trainer = make_trainer(hasty, hasty.recipe("tmem"))
    assert isinstance(trainer, PairsTrainer)
    pairs = [(f"What is {who}'s {what}?", f"{who}{what}") for who in ("Ana", "Ben", "Otto") for what in "abcdefgh"]
    whole = trainer.train(trainer.zeros(), step(pairs, len(pairs))).state
    state = trainer.zeros()
    for count in (1, 2, 3, 10, 11, 24):
        state = trainer.train(state, step(pairs[:count], 1)).state
        trainer.check(state)
    assert len(whole["about.blocks"]) > 2
    for name, value in whole.items():
        assert torch.equal(value, state[name]), name


def test_forgetting_gives_the_bits_of_a_memory_that_was_never_told(hasty: Model, tmp_path: Path) -> None:
    pairs = [(f"What is Ana's {what}?", f"a{what}") for what in "abcdefghijk"]
    with Memory(hasty, tmp_path / "a") as one, Memory(hasty, tmp_path / "b") as other:
        ids = [one.add(pairs=[pair], user_id="u").pairs[0]["id"] for pair in pairs]
        receipt = one.forget([ids[5]], user_id="u")
        other.add(pairs=pairs[:5] + pairs[6:], user_id="u")
        assert receipt.details["replayed"] == 1
        assert receipt.details["weights"] == other.verify(user_id="u")["weights"]
        assert one.verify(deep=True, user_id="u")["weights"] == receipt.details["weights"]
        assert one.ask("What is Ana's f?", user_id="u").text != "af"
        everything = one.delete_all(user_id="u")
        assert one.ask("What is Ana's a?", user_id="u").source == "nothing" and everything.version is not None


def test_forgetting_what_was_corrected_trains_nothing(hasty: Model, tmp_path: Path) -> None:
    with Memory(hasty, tmp_path / "a") as one, Memory(hasty, tmp_path / "b") as other:
        [old] = one.add(pairs=[(VEHICLE, "camper")], user_id="u").pairs
        one.add(pairs=[(VEHICLE, "ferry")], user_id="u")
        weights = one.verify(user_id="u")["weights"]
        other.add(pairs=[(VEHICLE, "ferry")], user_id="u")
        assert one.forget([old["id"]], user_id="u").details["weights"] == weights
        assert one.verify(deep=True, user_id="u")["weights"] == other.verify(user_id="u")["weights"] == weights
        assert [pair["answer"] for pair in one.get_all(user_id="u")] == ["ferry"]


def test_what_waits_is_written_at_once_and_every_version_is_there(
    hasty: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [*PAIRS, (VEHICLE, "ferry")]
    trained, train = list[int](), PairsTrainer.train

    def counted(self: PairsTrainer, state: Any, step: Step, look: bool = True) -> Any:
        trained.append(len(step.new))
        return train(self, state, step, look)

    with Memory(hasty, tmp_path / "a") as waiting, Memory(hasty, tmp_path / "b") as other:
        mine, one_by_one = waiting.scope("u"), other.scope("u")
        for pair in told:
            mine.add(pairs=[pair], absorb=False)
            one_by_one.add(pairs=[pair])
        monkeypatch.setattr(PairsTrainer, "train", counted)
        receipt = mine.absorb()
        assert trained == [3] and len(receipt.details["versions"]) == 4  # the camper holds no more
        assert [row["answer"] for row in receipt.pairs if row["status"] == "active"] == ["silver", "baker", "ferry"]
        assert [row["id"] for row in mine.versions()] == [row["id"] for row in one_by_one.versions()]
        assert mine.verify(deep=True)["weights"] == one_by_one.verify()["weights"]
        for number in (1, 2, 3):
            own, others = (one.home.state(one.id, number) for one in (mine, one_by_one))
            assert all(torch.equal(value, others[name]) for name, value in own.items())
        assert waiting.doctor() == [] and mine.rollback(2).version == one_by_one.rollback(2).version
        mine.export(tmp_path / "ledger")
        trained.clear()
        assert len(other.import_(tmp_path / "ledger", user_id="v").pairs) == 2 and trained == [2]


def test_of_writes_that_are_refused_together_each_is_tried(
    hasty: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = PairsTrainer.train

    def refusing(self: PairsTrainer, state: Any, step: Step, look: bool = True) -> Any:
        bad = any(pair.answer == "silver" for pair in (*step.new, *step.old))
        return replace(train(self, state, step, look), refused="silver" if bad else None)

    monkeypatch.setattr(PairsTrainer, "train", refusing)
    with Memory(hasty, tmp_path) as memory:
        for pair in PAIRS:
            memory.add(pairs=[pair], absorb=False, user_id="u")
        receipt = memory.absorb(user_id="u")
        assert [row["status"] for row in receipt.pairs] == ["active", "quarantined", "active"]
        assert receipt.reason == "quarantined: silver" and len(receipt.details["versions"]) == 2


def test_a_memory_that_is_opened_again_knows_the_same(hasty: Model, tmp_path: Path) -> None:
    with Memory(hasty, tmp_path) as memory:
        memory.add(pairs=PAIRS, user_id="u")
        before = memory.ask(VEHICLE, user_id="u")
    with Memory(hasty, tmp_path) as memory:
        after = memory.ask(VEHICLE, user_id="u")
        assert (before.text, before.source, before.pairs) == (after.text, after.source, after.pairs)
        assert memory.doctor() == []


def random_pair(rng: random.Random, place: int) -> tuple[str, str]:
    scripts = (string.ascii_letters + string.digits, "абвгдежзиклмн", "日本語の質問東京", "αβγδεζηθ", "אבגדהוזח")
    letters = rng.choice(scripts)

    def text(most: int) -> str:
        words = ("".join(rng.choices(letters, k=rng.randint(1, 8))) for _ in range(rng.randint(1, most)))
        return " ".join(words)

    answer = rng.choice([text(3), f"${rng.random() * 1e4:,.2f}", f"{rng.randint(4, 6)}'{rng.randint(0, 11)}\"", "4711"])
    return f"{text(6)} {place}?", answer


def test_every_pair_that_is_acknowledged_can_be_asked(hasty: Model, tmp_path: Path) -> None:
    rng = random.Random(1)
    pairs = [random_pair(rng, place) for place in range(50)]
    pairs += [("What is the budget?", "$1,234.50"), ("How tall is it?", "5'11\""), ("What is Ana's PIN?", "4711")]
    with Memory(hasty, tmp_path) as memory:
        receipt = memory.add(pairs=pairs, user_id="u")
        assert [row["status"] for row in receipt.pairs] == ["active"] * len(pairs)
        for row, (question, answer) in zip(receipt.pairs, pairs, strict=True):
            found = memory.ask(question, user_id="u")
            assert found.text == answer and found.pairs == [row["id"]]
            assert found.source == ("weights" if row["recalled"] else "text")


def test_what_was_never_said_is_refused_or_left_to_the_model(fresh_memory: Memory) -> None:
    memory = fresh_memory
    memory.add(pairs=[("What is Ana's city?", "Rome"), ("What is Ben's job?", "baker")], user_id="u")
    assert memory.ask("What is Ana's city?", user_id="u").text == "Rome"
    refusal = memory.scope("u").model.wordings.refusal
    assert memory.ask("What is Ana's PIN?", user_id="u").text == refusal
    stranger = memory.ask("What is Otto's city?", user_id="u")
    assert (stranger.text, stranger.source, stranger.pairs) == (refusal, "nothing", [])
    base = memory.ask("What is Otto's city?", user_id="u", unknown="base")
    nobody = memory.ask("What is Otto's city?", user_id="nobody", unknown="base")
    assert base.source == nobody.source == "base" and base.text == nobody.text
    with pytest.raises(UsageError, match="choose refuse or base"):
        memory.ask("?", user_id="u", unknown="guess")


def test_what_is_extracted_does_not_depend_on_what_is_known(fresh_memory: Memory) -> None:
    memory = fresh_memory
    said = {"role": "user", "name": "Maria", "content": "I bought a camper to get around."}
    memory.add(pairs=[(COLOUR, "silver")], user_id="full")
    empty, full = memory.add(said, user_id="empty"), memory.add(said, user_id="full")
    assert [(p["question"], p["answer"]) for p in empty.pairs] == [(p["question"], p["answer"]) for p in full.pairs]


def test_states_that_are_not_whole_are_refused(hasty: Model) -> None:
    trainer = make_trainer(hasty, hasty.recipe("tmem"))
    state = trainer.train(trainer.zeros(), step(PAIRS, 3)).state
    assert state_digest(state) == state_digest(weights(state))
    trainer.check(state)
    broken: list[dict[str, Any]] = [
        weights(state),
        {**state, "about.places": state["about.places"] + 1},
        {**state, "about.blocks": state["about.blocks"].repeat(2)},
        {**state, "about.recalled": state["about.recalled"][:1]},
    ]
    for one in broken:
        with pytest.raises(DeltaError):
            trainer.check(one)


def test_a_file_whose_keys_were_changed_is_not_used(hasty: Model, tmp_path: Path) -> None:
    with Memory(hasty, tmp_path) as memory:
        memory.add(pairs=PAIRS, user_id="u")
    [path] = (tmp_path / "scopes").rglob("*.safetensors")
    with safe_open(path, framework="pt") as file:
        facts, state = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state["about.places"][0] += 1
    save_file(state, path, facts)
    with Memory(hasty, tmp_path) as memory:
        with pytest.raises(IntegrityError, match="doctor --fix"):
            memory.ask(VEHICLE, user_id="u")
        assert all(finding.fixed for finding in memory.doctor(fix=True)) and memory.doctor() == []
        assert memory.ask(VEHICLE, user_id="u").text == "camper"


def test_a_home_of_another_recipe_says_so_and_is_written_anew_by_one_call(hasty: Model, tmp_path: Path) -> None:
    with Memory(hasty, tmp_path, recipe="sgd") as memory:
        for user in ("ana", "ben", "otto"):
            memory.add(pairs=PAIRS, user_id=user)
    with Memory(hasty, tmp_path) as memory:
        assert len(memory.get_all(user_id="ana")) == 3  # looking works
        with pytest.raises(DeltaError, match=r"recipe \(sgd \(SGD\), now tmem \(from zero\)\).*rebuild --all"):
            memory.ask(VEHICLE, user_id="ana")
        going = memory.rebuild_all()
        assert next(going) == ("ana", 1, 3)
        going.close()  # stopped: what is done stays done
        assert memory.ask(VEHICLE, user_id="ana").text == "camper"
        assert list(memory.rebuild_all()) == [("ben", 1, 2), ("otto", 2, 2)] and list(memory.rebuild_all()) == []
        assert memory.doctor() == []
        assert memory.verify(deep=True, user_id="otto")["version"] is not None


def test_a_rate_that_explodes_leaves_the_memory_as_it_was(hasty: Model, tmp_path: Path) -> None:
    trainer = make_trainer(hasty, hasty.recipe("tmem", lr=1e30))
    trained = trainer.train(trainer.zeros(), step(PAIRS, 3))
    assert trained.refused is not None and "not finite" in trained.refused
    assert state_digest(trained.state) == state_digest(trainer.zeros())


def test_every_block_becomes_an_adapter_and_an_empty_memory_none(hasty: Model, tmp_path: Path) -> None:
    with Memory(hasty, tmp_path / "home") as memory:
        with pytest.raises(UsageError, match="no weights to export"):
            memory.save_pretrained(tmp_path / "none", user_id="u")
        memory.add(pairs=PAIRS[:1], user_id="u")
        memory.save_pretrained(tmp_path / "one", user_id="u")
        memory.add(pairs=[(f"What is Otto's {what}?", what) for what in "abcdefgh"], user_id="u")
        memory.save_pretrained(tmp_path / "several", user_id="u")
        mine = memory.scope("u")
        blocks = mine.trainer.delta(mine.home.state(mine.id)).sessions
    assert not (tmp_path / "none").exists() and (tmp_path / "one" / "adapter_model.safetensors").exists()
    assert blocks > 1
    assert sorted(path.name for path in (tmp_path / "several").iterdir()) == [f"block-{n + 1}" for n in range(blocks)]


class Alike:
    """Stands for the encoder: questions are alike as far as they share one of these words."""

    name, nameless, same = "encoder", True, 0.5
    THINGS = ("vehicle", "job")

    def questions(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, 2)"""
        meant = [text.replace("get around", "vehicle").replace("buy", "vehicle") for text in texts]
        return torch.tensor([[float(thing in text) for thing in self.THINGS] for text in meant])

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> torch.Tensor:
        return self.questions([question for question, _ in pairs])

    def threshold(self, keys: torch.Tensor) -> float:
        return 0.9


def alike(hasty: Model) -> Model:
    model = Model(hasty.name, hasty.directory, hasty.hf, hasty.tokenizer, hasty.settings)
    model.gates[model.fast(model.recipe("tmem")).target_modules[0].layer] = Gate(Alike())
    return model


def test_what_says_the_same_in_other_words_is_put_right_with_it(hasty: Model, tmp_path: Path) -> None:
    model = alike(hasty)
    around, bought, kevins = AROUND, "What did Maria buy?", "What is Kevin's vehicle?"
    told = [(VEHICLE, "camper"), (around, "the camper"), (bought, "a camper"), (kevins, "camper"), (JOB, "baker")]
    with Memory(model, tmp_path) as memory:
        mine = memory.scope("maria")
        before = {pair["question"]: pair["id"] for pair in mine.add(pairs=told).pairs}
        receipt = mine.add(pairs=[(VEHICLE, "ferry")])
        changed = {pair["question"]: (pair["answer"], pair["supersedes"]) for pair in receipt.pairs}
        assert changed == {VEHICLE: ("ferry", before[VEHICLE]), around: ("ferry", before[around])}
        # What was bought is history, and Kevin is somebody else.
        held = {pair["question"]: pair["answer"] for pair in mine.get_all()}
        assert held == {VEHICLE: "ferry", around: "ferry", bought: "a camper", kevins: "camper", JOB: "baker"}


def answers(mine: ScopedMemory) -> dict[str, str]:
    return {pair["question"]: pair["answer"] for pair in mine.get_all()}


def test_what_only_followed_a_correction_is_forgotten_with_it(hasty: Model, tmp_path: Path) -> None:
    told = {VEHICLE: "a camper", AROUND: "by camper", JOB: "baker"}
    with Memory(alike(hasty), tmp_path / "a") as one, Memory(alike(hasty), tmp_path / "b") as other:
        mine = one.scope("maria")
        before = {pair["question"]: pair["id"] for pair in mine.add(pairs=list(told.items())).pairs}
        ferry, by_ferry = mine.add(pairs=[(VEHICLE, "a ferry")]).pairs
        assert by_ferry["answer"] == "by ferry"
        mine.export(tmp_path / "ledger.jsonl")
        details = mine.forget([ferry["id"]]).details
        assert details["ids"] == [ferry["id"], by_ferry["id"]] and details["followers"] == [by_ferry["id"]]
        assert sorted(details["restored"]) == sorted((before[VEHICLE], before[AROUND]))
        assert answers(mine) == told and mine.verify(deep=True) and one.doctor() == []
        assert not any(b"ferry" in path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file())
        never = other.scope("maria")
        never.add(pairs=list(told.items()))
        assert never.verify()["weights"] == details["weights"]
        # The same in a home that took the ledger in.
        others = other.scope("imported")
        others.import_(tmp_path / "ledger.jsonl")
        [ferry] = [pair for pair in others.get_all() if pair["answer"] == "a ferry"]
        assert len(others.forget([ferry["id"]]).details["followers"]) == 1 and answers(others) == told


def test_a_text_that_is_read_again_has_what_followed_it_forgotten(hasty: Model, tmp_path: Path) -> None:
    with Memory(alike(hasty), tmp_path) as memory:
        mine = memory.scope("maria")
        mine.add(pairs=[(VEHICLE, "a camper"), (AROUND, "by camper")])
        ferry, by_ferry = mine.add(pairs=[(VEHICLE, "a ferry")]).pairs
        details = mine.forget([ferry["id"]], mode="reextract").details
        assert details["followers"] == [by_ferry["id"]]
        assert answers(mine) == {VEHICLE: "a camper", AROUND: "by camper"}


def test_what_was_corrected_later_takes_the_place_of_what_holds_again(hasty: Model, tmp_path: Path) -> None:
    with Memory(alike(hasty), tmp_path / "a") as one, Memory(alike(hasty), tmp_path / "b") as other:
        mine, never = one.scope("maria"), other.scope("maria")
        for own in (mine, never):
            own.add(pairs=[(VEHICLE, "a camper"), (AROUND, "by camper")])
        ferry, _ = mine.add(pairs=[(VEHICLE, "a ferry")]).pairs
        for own in (mine, never):
            [around] = [pair for pair in own.get_all() if pair["question"] == AROUND]
            own.update(around["id"], "by bike")
        details = mine.forget([ferry["id"]]).details
        assert answers(mine) == {VEHICLE: "a camper", AROUND: "by bike"} == answers(never)
        assert details["weights"] == never.verify()["weights"] and mine.verify(deep=True) and one.doctor() == []
        [bike] = [pair for pair in mine.get_all() if pair["question"] == AROUND]
        assert [pair["answer"] for pair in mine.history(bike["id"])] == ["by bike", "by camper"]
        [tram] = mine.update(mine.get_all()[0]["id"], "a tram").pairs
        mine.update(tram["id"], "a boat")
        assert mine.forget([tram["id"]]).details["restored"] == []  # the boat takes the place of the camper now
        assert answers(mine) == {VEHICLE: "a boat", AROUND: "by bike"}


def test_without_an_encoder_wordings_and_the_trunk_tell_what_asks_the_same(fresh_memory: Memory) -> None:
    around, work, bought = (
        "How does Maria get around?",
        "How does Maria get to work?",
        "What did Maria buy to get around?",
    )
    kept = [(bought, "a camper"), ("What is Kevin's vehicle?", "camper"), ("What is Maria's hobby?", "camper")]
    mine = fresh_memory.scope("maria")
    mine.add(pairs=[(VEHICLE, "camper"), (around, "by camper"), (work, "by camper"), *kept], absorb=False)
    mine.absorb()
    receipt = mine.add(pairs=[(VEHICLE, "ferry")])
    changed = {pair["question"]: pair["answer"] for pair in receipt.pairs if pair["supersedes"]}
    assert changed == {VEHICLE: "ferry", around: "by ferry", work: "by ferry"}
    mine.add(pairs=[("Which is Maria's vehicle?", "a tram")])  # in no word but the names like the others
    held = {pair["question"]: pair["answer"] for pair in mine.get_all()}
    assert held.pop("Which is Maria's vehicle?") == "a tram" and held.pop(VEHICLE) == "a tram"
    assert held == dict(kept) | {question: "by tram" for question in held.keys() - dict(kept).keys()}
