"""What each memory keeps and shows, step by step, with scripted replies on a tiny model's tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import checkpoints
import pytest
from policies.scripted import Script

from tmem.agent import Agent, Ask, Episode
from tmem.agent.prompts import NO_MEMORY
from tmem.agent.rollout import ANSWERS
from tmem.errors import DataError, UsageError
from tmem.model import Model, load
from tmem.policies import ABLATIONS, MEMORIES, make_agent
from tmem.policies.amem import read_object

UNITS = tuple(
    f"DAY {number}. Anna sells {thing} in town." for number, thing in enumerate(("tea", "hats", "salt", "ink"))
)
NOTES = tuple((f"{unit} ({half})", place) for place, unit in enumerate(UNITS) for half in ("morning", "evening"))
ASKS = (Ask("q0", "What did Anna sell on the day of hats? (a) x (b) y", "hats"), Ask("q1", "Who sells salt?"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    model = load(checkpoints.make(tmp_path_factory.mktemp("qwen3"), "qwen3"), device="cpu")
    model.settings = model.settings.model_copy(update={"window": 6000, "prompts": "paper"})
    return model


def rolled_out(
    model: Model, memory: str, reply: Callable[[str], str], episode: Episode | None = None, **changes: Any
) -> tuple[Any, Script]:
    """One rollout (of the first question, where they are apart) and the script that it followed."""
    script = Script(model, reply)
    two_units = model.count("\n\n".join(UNITS[:2])) - 1  # every second unit fills the working context
    settings: dict[str, Any] = {"budget": two_units, "question_known": False, "engine": script, "top_k": 2}
    agent: Agent = make_agent(model, model.recipe("sgd", lr=0.1), memory, **(settings | changes))
    return agent.run([episode or Episode("one", UNITS[:3], ASKS, notes=NOTES)])[0], script


def seen(prompt: str) -> list[int]:
    """The units whose text stands in a prompt."""
    return [number for number, unit in enumerate(UNITS) if unit in prompt]


@pytest.mark.parametrize(("memory", "expected"), [("none", []), ("tail", [2]), ("full", [0, 1, 2])])
def test_plain_memories_show_what_they_say(model: Model, memory: str, expected: list[int]) -> None:
    trajectory, script = rolled_out(model, memory, lambda prompt: "yes")
    assert [seen(prompt) for prompt, _ in script.asked] == [expected] * 2
    assert trajectory.answers == {"q0": "yes", "q1": "yes"} and script.batches == [2]


def test_tail_shows_what_was_cleared_a_moment_ago_if_nothing_is_left(model: Model) -> None:
    episode = Episode("one", UNITS, ASKS, preamble="Two people.")
    _, script = rolled_out(model, "tail", lambda prompt: "yes", episode, write_tail=True)
    assert seen(script.asked[0][0]) == [2, 3] and "Two people." in script.asked[0][0]
    _, script = rolled_out(
        model, "tail", lambda prompt: "yes", episode
    )  # where fast weights see nothing, it sees nothing
    assert seen(script.asked[0][0]) == []


# ---- MemAgent ----


def test_memagent_overwrites_its_memory_and_answers_from_it_alone(model: Model) -> None:
    replies = iter(["<think>well</think> first memory ", "second memory", "tea", "Anna"])
    trajectory, script = rolled_out(model, "memagent", lambda prompt: next(replies))
    first, second, *answers = [prompt for prompt, _ in script.asked]
    assert f"<memory>\n{NO_MEMORY}\n</memory>" in first and seen(first) == [0, 1]
    # The tail is a section like the others; of the first memory nothing but the reply's own text is kept.
    assert "<memory>\nfirst memory\n</memory>" in second and seen(second) == [2] and "well" not in second
    assert all("second memory" in prompt and "first memory" not in prompt and seen(prompt) == [] for prompt in answers)
    assert trajectory.triggers == 2 and trajectory.memory_size == {"tokens": model.count("second memory")}
    assert [action.kind for action in trajectory.actions] == ["update", "update", "answer", "answer"]


def test_memagent_knows_the_question_where_it_is_known(model: Model) -> None:
    _, blind = rolled_out(model, "memagent", lambda prompt: "m")
    trajectory, aware = rolled_out(model, "memagent", lambda prompt: "m", question_known=True)
    assert "<problem>" not in blind.asked[0][0]
    assert f"<problem>\n{ASKS[0].text}\n</problem>" in aware.asked[0][0]
    assert list(trajectory.answers) == ["q0"]  # every question is lived through on its own
    order = [aware.asked[0][0].index(tag) for tag in ("<problem>", "<memory>", "<section>", "Updated memory:")]
    assert order == sorted(order)


# ---- retrieval ----


def test_rag_shows_the_best_notes_of_the_whole_stream_in_order_of_their_score(model: Model) -> None:
    trajectory, script = rolled_out(model, "rag", lambda prompt: "x")
    hats, salt = (prompt for prompt, _ in script.asked)
    assert all(note in hats for note, place in NOTES if place == 1) and "tea in town" not in hats
    assert all(note in salt for note, place in NOTES if place == 2)
    assert trajectory.memory_size == {"notes": 6, "shown": 2} and trajectory.actions[0].kind == "answer"


def test_rag_without_notes_retrieves_units_and_takes_any_retriever(model: Model) -> None:
    class Last:
        def __init__(self, texts: Any) -> None:
            self.texts = texts

        def top(self, query: str, k: int) -> list[int]:
            queries.append(query)
            return list(range(len(self.texts)))[-k:]

    queries: list[str] = []
    _, script = rolled_out(model, "rag", lambda p: "x", Episode("one", UNITS, ASKS), retriever=Last)
    assert seen(script.asked[0][0]) == [2, 3]
    assert queries == ["hats", ASKS[1].text]  # searched without hints and options


def test_retrieved_notes_never_fill_more_than_half_the_window(model: Model) -> None:
    long = Episode("one", tuple("hats " * 400 + str(n) for n in range(40)), ASKS)
    trajectory, script = rolled_out(model, "rag", lambda p: "x", long, top_k=40, budget=10_000)
    assert len(script.asked[0][1].prompt_ids) < model.window // 2 + 200
    shown = trajectory.memory_size["shown"]
    assert trajectory.memory_size["notes"] == 40 and 0 < shown < 40 and trajectory.cut_short == len(ASKS)
    assert len(re.findall(r"hats \d", script.asked[0][0])) == shown


# ---- A-MEM ----


def amem_replies(evolve: Callable[[str], Any]) -> Callable[[str], str]:
    """Well-behaved analyses and keywords; ``evolve`` decides."""

    def reply(prompt: str) -> str:
        if "Describe the content" in prompt:
            return 'Sure: {"keywords": ["goods"], "context": "A market.", "tags": ["trade"]}'
        if "nearest neighbours" in prompt:
            found = evolve(prompt)
            return found if isinstance(found, str) else json.dumps(found)
        if "Give several keywords" in prompt:
            return '{"keywords": ["salt"]}' if "salt" in prompt else '{"keywords": "hats, town"}'
        return "an answer"

    return reply


def test_amem_analyses_in_one_batch_evolves_one_by_one_and_answers_from_notes(model: Model) -> None:
    trajectory, script = rolled_out(model, "amem", amem_replies(lambda prompt: {"should_evolve": False}))
    kinds = [action.kind for action in trajectory.actions]
    # Four notes in the first context (the very first has no neighbours), two in the second.
    assert (
        kinds == ["analyze"] * 4 + ["evolve"] * 3 + ["analyze"] * 2 + ["evolve"] * 2 + ["keywords"] * 2 + ["answer"] * 2
    )
    assert script.batches == [4, 1, 1, 1, 2, 1, 1, 2, 2]
    hats = script.asked[-2][0]
    assert (
        "context: A market. keywords: goods tags: trade" in hats
        and "hats in town" in hats
        and "ink in town" not in hats
    )
    assert trajectory.memory_size == {"notes": 6, "shown": 2, "links": 0, "evolved": 0, "malformed": 0}


def test_amem_links_name_the_number_that_was_shown_and_bad_ones_are_dropped(model: Model) -> None:
    answer = {
        "should_evolve": True,
        "actions": ["strengthen"],
        "suggested_connections": [0, 0, 7, -1, "1", True],
        "tags_to_update": ["new tag"],
    }
    trajectory, script = rolled_out(model, "amem", amem_replies(lambda prompt: answer))
    assert (
        trajectory.memory_size["links"] == 5 and trajectory.memory_size["evolved"] == 5
    )  # one each, for all but the first
    # A linked note comes with the note that was found, and no note comes twice.
    shown = [line for line in script.asked[-1][0].splitlines() if line.startswith("memory: ")]
    assert len(shown) == len(set(shown)) > 2 and any("new tag" in line for line in shown)


def test_amem_updates_neighbours_in_the_order_in_which_they_were_shown(model: Model) -> None:
    def evolve(prompt: str) -> dict[str, Any]:
        count = prompt.count("memory index:")
        return {
            "should_evolve": "true",
            "actions": ["update_neighbor"],
            "new_context_neighborhood": [f"context {i}" for i in range(count)],
            "new_tags_neighborhood": [[f"tag {i}"] for i in range(count)],
        }

    _, script = rolled_out(model, "amem", amem_replies(evolve))
    second, third = [prompt for prompt, _ in script.asked if "nearest neighbours" in prompt][:2]
    assert second.count("memory index:") == 1 and third.count("memory index:") == 2
    assert "context: context 0 keywords: goods tags: tag 0" in third


@pytest.mark.parametrize("junk", ["no idea", '{"should_evolve": true', "[1, 2]", "{" * 3000, '{"should_evolve": true}'])
def test_amem_survives_replies_that_are_not_what_was_asked_for(model: Model, junk: str) -> None:
    trajectory, _ = rolled_out(model, "amem", lambda prompt: junk)
    assert trajectory.answers == {"q0": junk, "q1": junk} and trajectory.memory_size["notes"] == 6
    assert trajectory.memory_size["links"] == 0
    assert (trajectory.memory_size["malformed"] > 0) == (read_object(junk) == {})


def test_amem_finds_rewritten_notes_by_their_old_text_until_the_index_is_rebuilt(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmem.policies.amem.REBUILD_AFTER", 3)
    indexes: list[list[str]] = []

    class Spy:
        def __init__(self, texts: Any) -> None:
            indexes.append(list(texts))

        def top(self, query: str, k: int) -> list[int]:
            return list(range(min(k, len(indexes[-1]))))

    answer = {"should_evolve": True, "actions": ["update_neighbor"], "new_context_neighborhood": ["rewritten"]}
    rolled_out(model, "amem", amem_replies(lambda prompt: answer), retriever=Spy)
    rewritten = [any("rewritten" in text for text in index) for index in indexes]
    assert rewritten == [False, False, False, True, True, True, True]
    assert all(text.startswith("content:") for text in indexes[2]) and " , rewritten goods" in indexes[3][0]


# ---- fast weights ----


def extraction(*pairs: tuple[str, str]) -> str:
    return json.dumps([{"instruction": question, "output": answer} for question, answer in pairs])


def test_explicit_pairs_are_retrieved_beside_the_weights(model: Model) -> None:
    def reply(prompt: str) -> str:
        if "<session>" not in prompt:
            return "x"
        later = UNITS[2] in prompt
        return extraction(("Who sells hats?", "Ben" if later else "Anna"), ("What is old?", "the sea"))

    trajectory, script = rolled_out(model, "tmem+explicit", reply, write_tail=True, top_k=1)
    hats = script.asked[-2][0]
    assert "Who sells hats? Ben" in hats  # the later answer only
    assert "Who sells hats? Anna" not in hats and "the sea" not in hats
    assert trajectory.memory_size == {"pairs": 2} and len(trajectory.ledger) == 3
    assert all(request.memory == 0 for _, request in script.asked)
    _, plain = rolled_out(model, "tmem", reply, write_tail=True)
    assert "hats? Ben" not in plain.asked[-2][0]


def test_gold_pairs_are_those_of_the_units_read(model: Model) -> None:
    gold = (("Who sells tea?", "Anna", 0), ("Who sells salt?", "Anna", 2))
    trajectory, script = rolled_out(
        model, "gold", lambda p: "x", Episode("one", UNITS[:3], ASKS, gold=gold), write_tail=True
    )
    assert [[pair.question for pair in write.pairs] for write in trajectory.writes] == [
        ["Who sells tea?"],
        ["Who sells salt?"],
    ]
    assert script.batches == [2]  # nothing but the answers is generated


def test_raw_text_and_summaries_as_supervision(model: Model) -> None:
    trajectory, script = rolled_out(model, "tmem:text", lambda p: "x", write_tail=True)
    assert [write.account.pairs for write in trajectory.writes] == [1, 1] and script.batches == [2]
    assert trajectory.writes[1].account.rehearsed == 1 and trajectory.memory_size["tokens"] > 20
    trajectory, script = rolled_out(model, "tmem:summary", lambda p: "a summary", write_tail=True)
    assert NO_MEMORY in script.asked[1][0]  # every summary is of its own context alone
    assert trajectory.writes[0].tokens == model.count("a summary")


def test_long_raw_text_is_written_in_pieces_that_cover_it(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmem.policies.ablations.PIECE", 7)
    trajectory, _ = rolled_out(model, "tmem:text", lambda p: "x", write_tail=True)
    tokens = model.count("\n\n".join(UNITS[:2]))
    assert trajectory.writes[0].tokens == tokens and trajectory.writes[0].account.pairs == -(-tokens // 7)


# ---- all of them ----


@pytest.mark.parametrize("memory", [*MEMORIES, *ABLATIONS])
def test_every_memory_gives_alone_what_it_gives_in_a_batch(model: Model, memory: str) -> None:
    def reply(prompt: str) -> str:
        return extraction((f"Who is {len(prompt)}?", "Anna")) if "<session>" in prompt else f"reply {len(prompt)}"

    episodes = [Episode(f"e{n}", UNITS[: n + 1], ASKS, notes=NOTES[: 2 * n + 2]) for n in range(4)]

    def all_of(at_once: int) -> list[Any]:
        agent = make_agent(
            model,
            model.recipe("paper", lr=0.1),
            memory,
            engine=Script(model, reply),
            budget=20,
            at_once=at_once,
            seed=2,
        )
        return agent.run(episodes)

    together, alone = all_of(16), all_of(1)
    assert [trajectory.episode for trajectory in together] == [trajectory.episode for trajectory in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.answers == other.answers and one.memory_size == other.memory_size
        assert [(a.kind, a.prompt_ids, a.question) for a in one.actions] == [
            (a.kind, a.prompt_ids, a.question) for a in other.actions
        ]
        assert all(action.question is not None for action in one.actions if action.kind in ANSWERS)


def test_a_section_that_does_not_fit_is_one_line(model: Model) -> None:
    with pytest.raises(DataError, match="too long for the window") as error:
        rolled_out(model, "memagent", lambda p: "m", Episode("big", ("word " * 9000,), ASKS))
    assert "\n" not in str(error.value)


def test_an_unknown_memory_is_named_with_those_that_are_there(model: Model) -> None:
    with pytest.raises(UsageError, match=r"unknown memory 'rga': there are none, tail, full"):
        make_agent(model, memory="rga")
