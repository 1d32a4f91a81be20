"""``tmem.Memory`` on the smallest embedded model: told, corrected, forgotten, and nobody else's."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store.volumes import figure, volume

from tmem import Memory
from tmem.agent.extraction import QAPair
from tmem.agent.prompts import dated
from tmem.agent.splitting import cut, in_parts, the_question
from tmem.errors import NotFound, ScopeRequired, UsageError
from tmem.model import Model
from tmem.session import session
from tmem.store.actions import Actions
from tmem.store.contradiction import contradicted
from tmem.store.home import Home
from tmem.store.ledger.history import History, Pair
from tmem.store.ledger.queries import NewPair
from tmem.store.loaded import Shared
from tmem.store.messages import heard
from tmem.store.scoped import ScopedMemory
from tmem.store.weights.trainer import FastWeightTrainer

VEHICLE, COLOUR, JOB = (f"What is {thing}?" for thing in ("Maria's vehicle", "Kevin's favourite colour", "Maria's job"))


def test_what_is_told_is_known_in_other_words(memory: Memory) -> None:
    assert memory.ask("How does Maria get around?", user_id="u").text != "camper"
    receipt = memory.add(pairs=[(VEHICLE, "camper"), (COLOUR, "silver")], user_id="u")
    assert [row["status"] for row in receipt.pairs] == ["active", "active"] and receipt.version is not None
    answer = memory.ask("How does Maria get around?", user_id="u")
    assert (answer.text, answer.version, answer.shown) == ("camper", receipt.version, [])
    assert memory.ask(VEHICLE, user_id="other").text != "camper"  # somebody else's memory


def test_what_is_said_is_extracted_and_the_text_kept_as_its_source(memory: Memory) -> None:
    said = [
        {"role": "user", "name": "Maria", "content": "I bought a camper to get around."},
        {"role": "assistant", "name": "Kevin", "content": "My favourite colour is silver."},
    ]
    receipt = memory.add(said, user_id="u", timestamp="2:04 pm on 29 March, 2023")
    assert [(row["question"], row["answer"]) for row in receipt.pairs] == [(VEHICLE, "camper")]
    assert receipt.pairs[0]["episode"] is not None and receipt.tokens > 0 and receipt.reason is None


def test_nothing_written_says_why(memory: Memory) -> None:
    receipt = memory.add("", user_id="u")
    assert receipt.pairs == [] and receipt.version is None and receipt.reason
    memory.add(pairs=[(VEHICLE, "camper")], user_id="u")
    receipt = memory.add(pairs=[(VEHICLE, "Camper "), ("", "x"), (JOB, "word " * 600)], user_id="u")
    assert receipt.pairs == [] and len(receipt.rejected) == 3
    assert "duplicate" in receipt.rejected[0]["reason"] and "tokens are more than" in receipt.rejected[-1]["reason"]


def test_a_correction_changes_the_next_answer(memory: Memory) -> None:
    [old] = memory.add(pairs=[(VEHICLE, "camper")], user_id="u").pairs
    [new] = memory.add(pairs=[("What is Maria's vehicle now?", "ferry")], user_id="u").pairs
    assert new["supersedes"] == old["id"] and memory.get(old["id"], user_id="u")["status"] == "superseded"
    assert memory.ask(VEHICLE, user_id="u").text == "ferry"
    [newest] = memory.update(new["id"], "tram", user_id="u").pairs
    assert memory.ask(VEHICLE, user_id="u").text == "tram"
    assert [row["answer"] for row in memory.history(newest["id"], user_id="u")] == ["tram", "ferry", "camper"]
    with pytest.raises(UsageError, match="superseded"):
        memory.update(old["id"], "bus", user_id="u")


def test_forgetting_gives_the_weights_of_never_having_been_told(model: Model, memory: Memory, tmp_path: Path) -> None:
    first = memory.add(pairs=[(VEHICLE, "camper"), (JOB, "baker")], user_id="u")
    memory.add(pairs=[(COLOUR, "silver")], user_id="u")
    receipt = memory.forget([first.pairs[1]["id"]], user_id="u")
    with Memory(model, tmp_path / "never", recipe="sgd") as never:
        never.add(pairs=[(VEHICLE, "camper")], user_id="v")
        never.add(pairs=[(COLOUR, "silver")], user_id="v")
        assert never.verify(user_id="v")["weights"] == receipt.details["weights"]
    assert memory.verify(user_id="u", deep=True)["weights"] == receipt.details["weights"]
    assert memory.ask(JOB, user_id="u").text != "baker" and memory.ask(VEHICLE, user_id="u").text == "camper"
    assert memory.get(first.pairs[1]["id"], user_id="u")["question"] is None
    memory.delete_all(user_id="u")
    assert memory.get_all(user_id="u") == [] and memory.stats(user_id="u")["pairs"] == {"forgotten": 3}


THINGS = [
    *[("vehicle", "camper"), ("job", "baker"), ("pet", "cat")],
    *[("sport", "tennis"), ("favourite colour", "silver"), ("best friend", "Kevin")],
]

REBUILD = """
import sys
from tmem import Memory
from tmem.store.weights.states import state_digest

memory = Memory("persona-nano", sys.argv[1], recipe="sgd")
for user in sys.argv[2:]:
    mine = memory.scope(user)
    for row in mine.versions():
        history = mine.home.history(mine.id, mine._number(row["id"]))
        print(user, row["id"], state_digest(mine.home.replay(history)))
"""


def test_another_process_makes_the_same_weights(memory: Memory, tmp_path: Path) -> None:
    users = [f"u{number}" for number in range(volume(1, 27))]
    noise, expected = random.Random(2), []
    for user in users:
        told = noise.sample([(who, *what) for who in ("Maria", "Ana") for what in THINGS], 4 if len(users) > 1 else 3)
        for number, (who, thing, answer) in enumerate(told):
            memory.add(pairs=[(f"What is {who}'s {thing}?", answer)], user_id=user, metadata={"number": number})
        expected += [f"{user} {row['id']} {row['weights']}" for row in memory.versions(user_id=user)]
    command = [sys.executable, "-c", REBUILD, str(tmp_path / "home"), *users]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == expected and len(expected) >= 3
    figure(f"versions trained anew from the ledger in another process: {len(expected)} of {len(expected)} bit-equal")


def test_versions_can_be_compared_asked_and_gone_back_to(memory: Memory) -> None:
    one = memory.add(pairs=[(VEHICLE, "camper")], user_id="u").version
    memory.tag(1, "start", user_id="u")
    two = memory.add(pairs=[(VEHICLE, "ferry"), (COLOUR, "silver")], user_id="u").version
    assert memory.ask(VEHICLE, user_id="u", version="start").text == "camper"
    changed = memory.diff("start", 2, user_id="u")
    assert [row["answer"] for row in changed["added"]] == ["ferry", "silver"]
    assert [row["answer"] for row in changed["removed"]] == ["camper"]
    memory.rollback("start", user_id="u")
    assert memory.ask(VEHICLE, user_id="u").text == "camper"
    assert [version["id"] for version in memory.versions(user_id="u")][:2] == [one, two]
    with pytest.raises(NotFound, match="no version 'x'"):
        memory.rollback("x", user_id="u")


def test_written_pairs_are_searched_and_can_be_shown(memory: Memory) -> None:
    memory.add(pairs=[(VEHICLE, "camper"), (COLOUR, "silver")], user_id="u")
    [found] = memory.search("silver", top_k=1, user_id="u")
    assert found["question"] == COLOUR
    assert memory.ask(COLOUR, user_id="u", show_pairs=1).shown == [found["id"]]


# Under sgd the weights are in force in that prompt, too; of those that are written from zero theta_0 alone reads it.
@pytest.mark.parametrize(("opened", "source"), [("memory", "weights"), ("fresh_memory", "text")])
def test_an_earlier_version_shows_the_pairs_that_held_in_it(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, opened: str, source: str
) -> None:
    mine = request.getfixturevalue(opened).scope("u")
    asked, reply = list[str](), mine.actions.reply

    def heard(state: Any, prompts: Any, *given: Any, **more: Any) -> Any:
        asked.extend(mine.model.tokenizer.decode(prompt) for prompt in prompts)
        return reply(state, prompts, *given, **more)

    monkeypatch.setattr(mine.actions, "reply", heard)
    said = {}
    for city in ("Paris", "Lyon"):
        receipt = mine.add(pairs=[("Where do I live?", city)])
        said[receipt.version] = (receipt.pairs[0]["id"], city)
    for version, (pair, city) in said.items():
        answer = mine.ask("Where do I live?", version=version, show_pairs=1)
        assert (answer.shown, answer.source, answer.version) == ([pair], source, version)
        assert f"Where do I live? {city}" in asked[-1]


def test_what_theta_0_says_where_there_is_nothing_to_show_is_its_own(fresh_memory: Memory) -> None:
    assert fresh_memory.ask("Where do I live?", show_pairs=1, user_id="nobody").source == "base"


def test_what_cannot_be_learned_is_quarantined_and_changes_nothing(model: Model, tmp_path: Path) -> None:
    trainer = FastWeightTrainer(model, model.recipe("sgd", lr=10.0, epochs=2), largest=1e9)
    home = Home(tmp_path / "home", trainer)
    scope = home.scope(("u", None, None))
    _, [pair_id] = home.tell(scope, [NewPair(VEHICLE, "camper")])
    assert home.absorb(scope) == [] and home.head(scope) is None
    mine = ScopedMemory(Shared(home, lambda: Actions(trainer), model.turn), scope)
    assert mine.get(pair_id)["status"] == "quarantined"
    assert "were not learned: their loss rose from" in mine._why_quarantined([pair_id])


def test_weights_that_lost_earlier_pairs_are_refused(model: Model) -> None:
    known = [Pair("1", VEHICLE, "camper"), Pair("2", COLOUR, "silver")]
    (_, history), step = History("", (), {}).onwards([known])
    _, later = history.onwards([[Pair("3", JOB, "baker")]])
    trainer = FastWeightTrainer(model, model.recipe("sgd", epochs=5))
    before = trainer.train(trainer.zeros(), step).state
    (was, now), refused = trainer._loss(before, trainer.zeros(), later)  # as if the write had undone the one before
    assert now < -3 < was and f"earlier pairs were lost: of 2, the log-probability fell from {was:.2f}" in str(refused)
    assert trainer._loss(before, before, later) == ([was, was], None)
    trainer.recipe = model.recipe("paper")  # which rehearses nothing and promises nothing
    assert trainer._loss(before, trainer.zeros(), later) == ([was, now], None)


def test_a_write_that_lost_earlier_pairs_is_quarantined(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    first = memory.add(pairs=[(VEHICLE, "camper")], user_id="u")
    monkeypatch.setattr("tmem.store.weights.trainer.LOST", -100.0)
    receipt = memory.add(pairs=[(JOB, "baker")], user_id="u")
    assert receipt.version == first.version and receipt.pairs[0]["status"] == "quarantined"
    assert receipt.reason is not None and receipt.reason.startswith("quarantined: earlier pairs were lost")


def test_a_write_says_how_earlier_pairs_fared(memory: Memory) -> None:
    memory.add(pairs=[(VEHICLE, "camper")], user_id="u")
    memory.add(pairs=[(JOB, "baker")], user_id="u")
    first, second = memory.versions(user_id="u")
    was, now = second["account"]["old"]
    assert "old" not in first["account"] and abs(now - was) < 0.5 and was > -0.5


def test_told_now_and_trained_later(memory: Memory) -> None:
    receipt = memory.add(pairs=[(VEHICLE, "camper")], user_id="u", absorb=False)
    assert [row["status"] for row in receipt.pairs] == ["pending"] and receipt.version is None
    memory.absorb(user_id="u")
    assert memory.ask(VEHICLE, user_id="u").text == "camper"


def test_what_waits_is_known_to_what_is_put_right_next(fresh_memory: Memory) -> None:
    [old] = fresh_memory.add(pairs=[(VEHICLE, "camper")], user_id="u").pairs
    fresh_memory.add(pairs=[(VEHICLE, "ferry")], absorb=False, user_id="u")
    with pytest.raises(UsageError, match="is superseded: only an active pair"):
        fresh_memory.update(old["id"], "plane", user_id="u")
    fresh_memory.add(pairs=[(VEHICLE, "tram")], absorb=False, user_id="u")
    fresh_memory.add(pairs=[(VEHICLE, "ferry")], user_id="u")  # again
    assert [row["answer"] for row in fresh_memory.get_all(user_id="u")] == ["ferry"]
    for answer in ("camper", "ferry"):
        fresh_memory.add(pairs=[(VEHICLE, answer)], absorb=False, user_id="u")
    assert [row["answer"] for row in fresh_memory.absorb(user_id="u").pairs if row["status"] == "active"] == ["ferry"]
    assert [row["answer"] for row in fresh_memory.get_all(user_id="u")] == ["ferry"]


def test_an_answer_that_cannot_be_written_puts_nothing_right(fresh_memory: Memory) -> None:
    long = " ".join(f"word{number}" for number in range(150))
    [old] = fresh_memory.add(pairs=[(VEHICLE, "camper")], user_id="u").pairs
    with pytest.raises(UsageError, match=r"cannot be written: \d+ tokens are more than the recipe's 512"):
        fresh_memory.update(old["id"], long, user_id="u")
    with pytest.raises(UsageError, match="forget the pair instead"):
        fresh_memory.update(old["id"], "No information available.", user_id="u")
    assert [row["answer"] for row in fresh_memory.get_all(status=None, user_id="u")] == ["camper"]


def test_several_threads_lose_nothing(memory: Memory) -> None:
    errors: list[BaseException] = []

    def live(user: str, first: bool) -> None:
        try:
            for number in range(3):
                thing, answer = THINGS[3 * first + number]
                question = f"What is Maria's {thing}?"
                [row] = memory.add(pairs=[(question, answer)], user_id=user).pairs
                memory.ask(question, user_id=user)
                if number == 1:
                    memory.forget([row["id"]], user_id=user)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=live, args=(user, first)) for user in "ab" for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not errors and not any(thread.is_alive() for thread in threads)
    for user in "ab":
        assert len(memory.get_all(user_id=user)) == 4 and memory.verify(user_id=user, deep=True)


def test_two_homes_share_a_model(model: Model, tmp_path: Path) -> None:
    answers: dict[str, str] = {}

    def live(home: str, answer: str) -> None:
        with Memory(model, tmp_path / home, recipe="sgd") as memory:
            for _ in range(2):
                memory.add(pairs=[(VEHICLE, answer)], user_id=answer)
            answers[home] = memory.ask(VEHICLE, user_id=answer).text

    threads = [threading.Thread(target=live, args=args) for args in [("a", "camper"), ("b", "ferry")]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert answers == {"a": "camper", "b": "ferry"}


def test_looking_loads_no_model(model: Model, memory: Memory, tmp_path: Path) -> None:
    [row] = memory.add(pairs=[(VEHICLE, "camper")], user_id="u").pairs
    assert row.pop("recalled")  # is the receipt's alone
    loads: list[int] = []

    def slow() -> Model:
        loads.append(1)
        return model

    with Memory(slow, tmp_path / "home", recipe="sgd") as other:
        mine = other.scope("u")
        assert mine.get(row["id"]) == row and mine.get_all() == mine.history(row["id"]) == [row]
        assert len(mine.versions()) == 1 and mine.diff(1, 1) == {"added": [], "removed": []}
        assert mine.stats() == memory.stats(user_id="u") and mine.stats()["bytes"] > 1000
        assert mine.export(tmp_path / "ledger") == 1 and other.get_all(user_id="somebody new") == []
        assert loads == []
        assert [mine.ask(VEHICLE).text for _ in range(2)] == ["camper"] * 2 and loads == [1]


def test_calls_that_cannot_work(memory: Memory) -> None:
    with pytest.raises(ScopeRequired):
        memory.ask("Where?")
    with pytest.raises(NotFound, match="no pair nope"):
        memory.get("nope", user_id="u")
    with pytest.raises(UsageError, match="a message is"):
        memory.add([{"role": "user"}], user_id="u")
    assert memory.stats(user_id="u")["pairs"] == {}


def test_text_that_cannot_be_stored_is_made_so() -> None:
    assert heard("a\0b \ud83d") == ([("", "ab \ufffd")], [])
    told = session([("Ana", "hi")], date(2023, 5, 8))
    assert told == 'DATE: 12:00 pm on 8 May, 2023\nCONVERSATION:\nAna said, "hi"'


def test_who_is_heard_and_what_a_message_consists_of() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "name": "Ana", "content": [{"type": "text", "text": "I moved."}, image, "To Rome."]},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "tool", "content": "found"},
        {"role": "developer", "content": "Never say no."},
        {"role": "assistant", "content": "You like tea."},
    ]
    lines, passed_over = heard(messages)
    assert lines == [("Ana", "I moved.\nTo Rome.")]
    assert passed_over == [{"reason": "not a text, not read", "text": "image_url"}]
    assert heard(messages, ["assistant"])[0] == [("", "You like tea.")]
    assert heard(messages, ["user", "assistant"])[0][1] == ("Assistant", "You like tea.")  # not another's "I"
    for bad in ({"role": "user"}, {"content": 3}, {"content": [3]}, 3):
        with pytest.raises(UsageError, match="message"):
            heard([bad])  # type: ignore[list-item]


def test_a_long_message_is_read_in_parts_and_has_one_receipt(memory: Memory) -> None:
    seen = list[tuple[int, int]]()
    said = "I bought a camper to get around. " + "I am a bit tired today. " * 60 + "I live in Lyon."
    receipt = memory.scope("long").add(
        {"name": "Maria", "content": said}, progress=lambda done, total: seen.append((done, total))
    )
    assert ("What is Maria's vehicle?", "camper") in [(pair["question"], pair["answer"]) for pair in receipt.pairs]
    assert [done for done, _ in seen] == list(range(seen[0][1])) and len(seen) > 3
    assert len(memory.scope("long").versions()) == 1


@given(st.text(alphabet="ab .!?\n", max_size=200), st.integers(4, 40))
def test_a_cut_text_keeps_every_word_in_order_and_every_part_is_short(text: str, most: int) -> None:
    parts = cut(text, len, most)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(len(part) <= most for part in parts)


def test_parts_of_a_session_are_dated_and_say_who_speaks() -> None:
    said = "I bought a camper. I saw a whale! Was it big? It was. " * 3
    parts = in_parts(session([("Maria", said.strip()), ("Kevin", "Oh.")], date(2023, 5, 8)), len, 40)
    assert len(parts) > 4 and all(part.startswith("DATE: 12:00 pm on 8 May, 2023\nCONVERSATION:\n") for part in parts)
    lines = [line for part in parts for line in part.splitlines()[2:]]
    assert lines[-1] == 'Kevin said, "Oh."' and all(line.startswith('Maria said, "') for line in lines[:-1])
    assert " ".join(line.split('"')[1] for line in lines[:-1]) == said.strip()


def test_every_part_of_a_message_of_several_lines_says_who_speaks() -> None:
    lines = [f"I did thing number {number} at my work." for number in range(6)]
    whole = session([("Ana", "\n".join(lines)), ("", "It rains."), ("Bo", "I did nothing.")], None)
    parts = in_parts(whole, len, 90)
    assert len(parts) > 2 and all(part.startswith('Ana said, "') for part in parts[:-1])
    assert parts[-1].endswith('"\nIt rains.\nBo said, "I did nothing."')
    assert all(sum(line in part for part in parts) == 1 for line in lines)
    when = dated(session([("Ana", "I fell yesterday.\nMy mum fell today.")], date(2023, 5, 8)))
    assert "yesterday (7 May 2023)" in when and "today (8 May 2023)" in when


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("It rained. Where does Ana live?", "Where does Ana live?"),
        ("Who is Bo? It rained. Where does Ana live? Thanks.", "Where does Ana live?"),
        ('It rained. He said "Who are you?" ', 'He said "Who are you?"'),
        ("雨でした。どこに住んでいますか？", "どこに住んでいますか？"),
        ("It rained. Tell me.", "Tell me."),
        ("a " * 50 + "b?", "a " * 12 + "b?"),
        (" ", " "),
    ],
)
def test_of_a_long_text_the_last_question_is_asked(text: str, asked: str) -> None:
    assert the_question(text, len, 40).strip() == asked.strip()


def test_other_words_for_what_is_believed_already() -> None:
    active = [Pair("1", "Where in France does Ana live?", "Lyon"), Pair("2", "Where in Spain does Ana live?", "Vigo")]
    new = QAPair("Where in France does Ana live nowadays?", "Paris")
    assert contradicted(new, "Lyon", active) == "1"
    assert contradicted(new, "somewhere", active) is None


@pytest.mark.parametrize(
    ("question", "answer", "belief", "expected"),
    [
        ("Where does Ana live?", "Oslo", "", "1"),  # the same question
        ("Where does Ana live now?", "Oslo", "", "1"),
        ("Where does Ana live?", "lyon", "", None),  # the same answer
        ("Where does Ana work?", "Oslo", "Paris", None),  # something else, and the memory does not mix them up
        ("Where does Ana's family live?", "Oslo", "Lyon", None),  # believed to be the same, but not alike enough
        ("Where does Ben live?", "Oslo", "Lyon", None),
    ],
)
def test_which_pair_a_new_one_contradicts(question: str, answer: str, belief: str, expected: str | None) -> None:
    active = [Pair("1", "Where does Ana live?", "Lyon")]
    assert contradicted(QAPair(question, answer), belief, active) == expected


@pytest.mark.parametrize(
    ("question", "holds", "expected"),
    [
        ("Where did I live?", "Where do I live?", None),
        ("What was my job?", "What is my job?", None),
        ("Who was Ana's boss?", "Who is Ana's boss?", None),
        ("Which car did I have?", "Which car do I have?", None),
        ("Where do I live?", "Where did I live?", None),
        ("When did Ana move?", "When did Ana move?", "1"),
        ("WHEN DID Ana move now?", "When did Ana move?", "1"),
        ("Where do I live now?", "Where do I live?", "1"),
    ],
)
@pytest.mark.parametrize("belief", ["", "Lyon"])
def test_what_was_so_leaves_what_is_so(question: str, holds: str, expected: str | None, belief: str) -> None:
    assert contradicted(QAPair(question, "Paris"), belief, [Pair("1", holds, "Lyon")]) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("राम का शहर क्या है?", "रीमा का शहर क्या है?"),  # two names of the same letters
        ("ชื่อป้าคืออะไร?", "ชื่อป่าคืออะไร?"),
        ("How long have I used C++?", "How long have I used C#?"),
        ("How long have I used C?", "How long have I used C#?"),
        ("Who is 🐈?", "Who is 🐕?"),
    ],
)
def test_a_mark_or_a_sign_makes_another_word(one: str, other: str) -> None:
    for question, holds in ((one, other), (other, one)):
        assert contradicted(QAPair(question, "Paris"), "", [Pair("1", holds, "Lyon")]) is None
        assert contradicted(QAPair(question.strip("?"), "Paris"), "", [Pair("1", question, "Lyon")]) == "1"
