"""The game of searching, turn by turn, with scripted replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import checkpoints
import pytest
from policies.scripted import Script

from tmem.agent import Ask, Episode, SearchGame
from tmem.agent.search import STEP_TOKENS, hint
from tmem.model import Model, load
from tmem.policies import make_agent

ASK = Ask("q", "Who wrote A?; Where is B?")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    model = load(checkpoints.make(tmp_path_factory.mktemp("qwen3"), "qwen3"), device="cpu")
    model.settings = model.settings.model_copy(update={"window": 6000, "prompts": "paper"})
    return model


def prompt(question: str, memory: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"RULES {question} MEMORY[{memory}]"}]


def play(
    model: Model, memory: str, replies: list[str], turns: int = 4, **changes: Any
) -> tuple[Any, Script, list[str]]:
    queries: list[str] = []

    def find(query: str) -> str:
        queries.append(query)
        return f"Doc 1(Title: found {len(queries)})"

    steps = iter(replies)
    reply: Callable[[str], str] = lambda text: "[]" if "<session>" in text else next(steps)  # noqa: E731
    script = Script(model, reply)
    settings: dict[str, Any] = {"engine": script, "budget": 5000, "question_known": False}
    agent = make_agent(model, model.recipe("paper"), memory, **(settings | changes))
    episode = Episode("g", (), (ASK,), answer_prompt=prompt, search=SearchGame(find, turns))
    [trajectory] = agent.run([episode])
    return trajectory, script, queries


def think(number: int) -> str:
    return f"<think>thought {number}</think><search> query {number} </search>"


DONE = "<think>done</think><answer>Ann; Oslo</answer>"


def test_mem1_replaces_its_context_by_the_last_turn(model: Model) -> None:
    trajectory, script, queries = play(model, "mem1", [think(1), think(2), DONE])
    first, second, third = [text for text, _ in script.asked]
    assert queries == ["query 1", "query 2"] and trajectory.answers == {"q": DONE}
    assert "thought" not in first and first.rstrip().endswith("</think>")
    # The turn with what it found is what the next reply goes on from, and only the last one is there.
    assert second.endswith("[HINT]You have 3 turns left.[/HINT]\nDoc 1(Title: found 1)\n</information>")
    assert "thought 2" in third and "thought 1" not in third and "found 1)" not in third
    assert [action.kind for action in trajectory.actions] == ["step"] * 3 and trajectory.triggers == 0


def test_full_keeps_the_whole_trajectory(model: Model) -> None:
    trajectory, script, _ = play(model, "full", [think(1), think(2), DONE])
    assert "thought 1" in script.asked[2][0] and "thought 2" in script.asked[2][0]
    seen = script.asked[2][0].partition("<think>thought 1")
    assert trajectory.memory_size["tokens"] == pytest.approx(model.count(seen[1] + seen[2]), abs=10)


def test_a_history_that_does_not_fit_loses_its_oldest_turns(model: Model) -> None:
    long = "<think>" + "word " * 2000 + "</think><search>x</search>"
    trajectory, script, _ = play(model, "full", [long, long, long, DONE], turns=5)
    assert trajectory.left_out > 0
    assert all(len(request.prompt_ids) <= model.window - STEP_TOKENS for _, request in script.asked)


def test_fast_weights_take_in_a_full_working_context_and_it_is_dropped(model: Model) -> None:
    trajectory, script, _ = play(model, "tmem", [think(1), think(2), DONE], budget=5)
    kinds = [action.kind for action in trajectory.actions]
    assert kinds == ["step", "extract", "step", "extract", "step"]
    extraction, second = script.asked[1][0], script.asked[2][0]
    assert (
        "thought 1" in extraction and "found 1" in extraction and ASK.text in extraction
    )  # a search knows its question
    assert "thought 1" not in second and "RULES" in second
    assert trajectory.triggers == 2 and len(trajectory.writes) == 2


def test_a_summary_memory_is_in_the_prompt_of_every_turn(model: Model) -> None:
    _, script, _ = play(model, "memagent", [think(1), "what I know", think(2), "what I know now", DONE], budget=5)
    assert "MEMORY[what I know]" in script.asked[2][0] and "MEMORY[what I know now]" in script.asked[4][0]


def test_without_memory_there_is_one_turn_and_no_search(model: Model) -> None:
    trajectory, script, queries = play(model, "none", [DONE])
    assert queries == [] and trajectory.answers == {"q": DONE} and script.asked[0][1].stop_texts == ("</answer>",)


@pytest.mark.parametrize("reply", ["no tags at all", "<think>x</think>", "<search>never closed", ""])
def test_an_invalid_step_ends_the_game_without_an_answer(model: Model, reply: str) -> None:
    trajectory, script, _ = play(model, "mem1", [think(1), reply])
    assert trajectory.answers == {"q": ""} and len(script.asked) == 2


def test_on_the_last_turn_a_search_is_no_answer(model: Model) -> None:
    trajectory, script, queries = play(model, "mem1", [think(1), think(2)], turns=2)
    assert queries == ["query 1"] and trajectory.answers == {"q": ""}
    assert [request.stop_texts for _, request in script.asked] == [("</search>", "</answer>"), ("</answer>",)]


def test_what_a_result_says_about_the_turns_left() -> None:
    assert hint(2) == "[HINT]You have 2 turns left.[/HINT]"
    assert hint(1) == "[HINT]You have 1 turn left. You must answer the question now.[/HINT]"
