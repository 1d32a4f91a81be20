"""OpenAI Agents' session: nothing twice after a failed turn, and what was answered is learned, once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server.fakes import open_memory

agents = pytest.importorskip("agents", reason="openai-agents is not installed")

from openai.types.responses import (  # noqa: E402
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from tmem.adapters.openai_agents import LearningSession  # noqa: E402

CALL = ResponseFunctionToolCall(call_id="c", name="look", arguments="{}", type="function_call")


def message(text: str) -> Any:
    part = ResponseOutputText(text=text, type="output_text", annotations=[])
    return ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[part])


class Scripted(agents.Model):  # type: ignore[misc, name-defined]
    """Says what it is told to: a text, a call of a tool, or nothing since it is down."""

    def __init__(self) -> None:
        self.script, self.seen = list[str](), list[list[str]]()

    async def get_response(self, system_instructions: Any, input: Any, *_: Any, **__: Any) -> Any:
        self.seen.append([item["content"] for item in input if item.get("role") == "user"])
        what = self.script.pop(0)
        if what == "down":
            raise RuntimeError("down")
        output = [CALL] if what == "tool" else [message(what)]
        return agents.ModelResponse(output=output, usage=agents.Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


class Talk:
    def __init__(self, home: Path) -> None:
        agents.set_tracing_disabled(True)
        self.whole, _ = open_memory(home)
        self.memory = self.whole.scope(user_id="ana")
        self.session = LearningSession(agents.SQLiteSession("s"), self.memory, name="Ana")
        self.model = Scripted()
        look = agents.function_tool(lambda: "seen", name_override="look")
        self.agent = agents.Agent(name="a", model=self.model, tools=[look])

    def say(self, text: str, *script: str) -> str | None:
        self.model.script = list(script)
        try:
            return str(asyncio.run(agents.Runner.run(self.agent, text, session=self.session)).final_output)
        except RuntimeError:
            return None

    def items(self, limit: int | None = None) -> list[Any]:
        kept = asyncio.run(self.session.get_items(limit))
        return [item["content"] if item.get("role") == "user" else item.get("role") or item["type"] for item in kept]

    def cities(self) -> list[str]:
        return [row["answer"] for row in self.memory.get_all(status=None)]


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    made = Talk(tmp_path)
    yield made
    made.whole.close()


def test_what_was_answered_is_learned(talk: Talk) -> None:
    assert talk.say("I live in Lyon.", "ok") == "ok"
    assert talk.cities() == ["Lyon"] and talk.items() == ["I live in Lyon.", "assistant"]
    assert talk.say("I live in Nice.", "tool", "ok") == "ok"
    assert talk.cities() == ["Lyon", "Nice"] and len(talk.items()) == 6
    assert talk.items(2) == ["function_call_output", "assistant"] and talk.items(0) == []


@pytest.mark.parametrize("failing", [("down",), ("tool", "down")])
def test_no_message_is_kept_twice_after_a_failed_turn(talk: Talk, failing: tuple[str, ...]) -> None:
    talk.say("I live in Lyon.", "ok")
    assert talk.say("I live in Nice.", *failing) is None and talk.say("I live in Nice.", *failing) is None
    assert talk.cities() == ["Lyon"]  # what nobody answered is not learned
    assert talk.say("I live in Nice.", "tool", "ok") == "ok"
    assert talk.items().count("I live in Nice.") == 1 and talk.cities() == ["Lyon", "Nice"]
    if failing == ("down",):
        assert talk.model.seen[-1] == ["I live in Lyon.", "I live in Nice."]  # and not sent twice either


@pytest.mark.parametrize("limit", [1, 2])
def test_a_session_that_gives_few_of_its_items_teaches_all_the_same(talk: Talk, limit: int) -> None:
    talk.session = LearningSession(
        agents.SQLiteSession("s", session_settings=agents.SessionSettings(limit=limit)), talk.memory, name="Ana"
    )
    assert talk.say("I live in Lyon.", *["tool"] * 9, "ok") == "ok"
    assert talk.cities() == ["Lyon"] and talk.items() == ["function_call_output", "assistant"][-limit:]
    assert talk.say("I live in Nice.", "tool", "down") is None and talk.say("I live in Nice.", "ok") == "ok"
    assert talk.items(99).count("I live in Nice.") == 1 and talk.cities() == ["Lyon", "Nice"]
    assert talk.say("I live in Oslo.", "down") is None
    assert talk.items(2) == ["I live in Nice.", "assistant"] and talk.items()[-1] == "assistant"


def test_a_failed_message_makes_way_for_another(talk: Talk) -> None:
    assert talk.say("I live in Nice.", "down") is None
    assert talk.say("I live in Paris.", "ok") == "ok"
    assert talk.items() == ["I live in Paris.", "assistant"] and talk.cities() == ["Paris"]


def test_a_turn_that_a_tool_ended_stays(talk: Talk) -> None:
    talk.agent.tool_use_behavior = "stop_on_first_tool"
    assert talk.say("I live in Nice.", "tool") == "seen"
    talk.agent.tool_use_behavior = "run_llm_again"
    assert talk.say("I live in Paris.", "ok") == "ok"
    assert [item for item in talk.items() if item.startswith("I live")] == ["I live in Nice.", "I live in Paris."]
    assert talk.cities() == ["Nice", "Paris"]  # learned with the next answer


def test_clearing_forgets_nothing(talk: Talk) -> None:
    talk.say("I live in Lyon.", "ok")
    popped = asyncio.run(talk.session.pop_item())
    assert popped["role"] == "assistant" and talk.items() == []
    asyncio.run(talk.session.clear_session())
    assert asyncio.run(talk.session.kept.get_items()) == [] and talk.cities() == ["Lyon"]
