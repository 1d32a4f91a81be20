"""Talking to a memory: it knows at once what it was told, and a correction changes the next answer."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import checkpoints
import pytest
from store.fakes import Scripted

from tmem import Memory
from tmem.errors import UsageError
from tmem.model import load
from tmem.model.request import GenerationConfig
from tmem.session import session
from tmem.store.chat import _context, _turns, split
from tmem.store.messages import heard
from tmem.texts import NO_INFORMATION


def test_it_learns_answers_and_is_corrected(memory: Memory) -> None:
    mine = memory.scope("maria")
    told = mine.chat("I bought a camper to get around.", name="Maria")
    assert told.text == "" and told.learned is not None
    assert [row["answer"] for row in told.learned.pairs] == ["camper"]
    asked = mine.chat("How does Maria get around?", name="Maria")
    assert (asked.text, asked.learned, asked.version) == ("camper", None, told.version)
    both = mine.chat("Actually, I get around by ferry now. How does Maria get around?", name="Maria")
    assert both.text == "ferry"
    assert both.learned is not None and both.learned.pairs[0]["supersedes"] == told.learned.pairs[0]["id"]
    kept = mine.chat("I get around by tram now. How does Maria get around?", name="Maria", learn=False)
    assert (kept.text, kept.version) == ("ferry", both.version)


@pytest.mark.parametrize(
    ("text", "told", "asked"),
    [
        ("I moved. Where do I live? Tell me!", "I moved. Tell me!", "Where do I live?"),
        ("Where? And when?", "", "And when?"),
        ("no end", "no end", ""),
        ('He said "no." and left', 'He said "no." and left', ""),
        ('He asked "why?" and left. Why?', 'He asked "why?" and left.', "Why?"),
        ("When do I see Dr. Miller?", "", "When do I see Dr. Miller?"),
        ("J. Smith is my boss. Who is J. Smith?", "J. Smith is my boss.", "Who is J. Smith?"),
        ("Here it costs $3.50. What costs $4.50?", "Here it costs $3.50.", "What costs $4.50?"),
        ("Mail ana.b@mail.com at 3.30 pm.", "Mail ana.b@mail.com at 3.30 pm.", ""),
        ("See https://x.org/a?b=1 for my photos.", "See https://x.org/a?b=1 for my photos.", ""),
        ("I get up at 5 a.m. every day. Is it early?", "I get up at 5 a.m. every day.", "Is it early?"),
        ("My dog is Rex\n\nWhat is my dog's name?", "My dog is Rex", "What is my dog's name?"),
        ("1. eggs\n2. milk\nWhat do I need?!", "1. eggs\n2. milk", "What do I need?!"),
        ("リヨンに住んでいます。どこに住んでいますか？", "リヨンに住んでいます。", "どこに住んでいますか？"),
        ("", "", ""),
    ],
)
def test_what_a_message_tells_and_asks(text: str, told: str, asked: str) -> None:
    assert split(text) == (told, asked)


@pytest.mark.parametrize(
    "messages", [[], [{"role": "assistant", "content": "hi"}], [{"role": "user"}], [{"content": None}]]
)
def test_a_conversation_ends_with_a_user(memory: Memory, messages: Any) -> None:
    with pytest.raises(UsageError, match="ends with a user's message"):
        memory.chat(messages, user_id="u")


def test_turns_are_read_in_the_shapes_of_chat_apis() -> None:
    parts = [{"type": "text", "text": "I live"}, {"type": "image_url"}, {"type": "text", "text": "in Lyon."}]
    earlier, last, unread = _turns(
        [
            {"role": "developer", "content": "Be kind."},
            "Hi.",
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "content": "Oslo"},
            {"role": "assistant", "content": [{"type": "text", "text": "Hello!"}]},
            {"role": "user", "name": "Ana", "content": parts},
        ]
    )
    assert [(one["role"], one["content"]) for one in earlier] == [
        ("system", "Be kind."),
        ("user", "Hi."),
        ("assistant", "Hello!"),
    ]
    assert (last["name"], last["content"]) == ("Ana", "I live\nin Lyon.")
    assert [drop["text"] for drop in unread] == ["image_url"]


def test_roles_that_no_chat_has_are_named_and_can_be_listened_to() -> None:
    messages = [{"role": "human", "content": "I live in Lyon."}, {"role": "assistant", "content": "Fine."}]
    lines, passed_over = heard(messages)
    assert lines == [] and [(drop["text"], "say so in roles" in drop["reason"]) for drop in passed_over] == [
        ("human", True)
    ]
    assert heard(messages, ["human"]) == ([("", "I live in Lyon.")], [])


def test_a_model_that_converses_sees_the_last_messages_and_what_a_correction_is_about(tmp_path: Path) -> None:
    model = load(checkpoints.make(tmp_path / "model", "qwen3"), device="cpu")
    model.settings = model.settings.model_copy(update={"window": 4096, "max_new_tokens_memory": 3})
    with Memory(model, tmp_path / "home") as memory:
        pair = {"instruction": "Where does the user live?", "output": "Lyon"}
        script = Scripted(model, [json.dumps([pair | {"output": "Paris"}]), json.dumps([pair])])
        mine = memory.scope("u")
        mine.actions.engine = mine.actions.talking = script  # type: ignore[assignment]
        first = mine.chat("I live in Paris.")
        turns = [
            {"role": "user", "content": "I live in Paris."},
            {"role": "assistant", "content": "Paris is beautiful."},
            {"role": "user", "content": "no, it is Lyon now"},
        ]
        second = mine.chat(turns, name="Ana")
        assert first.learned is not None and second.learned is not None
        assert second.learned.pairs[0]["supersedes"] == first.learned.pairs[0]["id"]
        assert second.version != first.version
    extraction = next(prompt for prompt in script.prompts if "no, it is Lyon now" in prompt and "<session>" in prompt)
    # What it was said after is read with it, and kept with its own text alone, which is what forgetting reaches.
    database = sqlite3.connect(tmp_path / "home" / "tmem.db")
    kept = [text for (text,) in database.execute("select text from episodes order by rowid")]
    assert kept == ["I live in Paris.", 'Ana said, "no, it is Lyon now"']
    assert 'user: I live in Paris.\nassistant: Paris is beautiful.\n\nAna said, "no, it is Lyon now"' in extraction
    reply = script.prompts[-1]
    assert reply.index("I live in Paris.") < reply.index("Paris is beautiful.") < reply.index("no, it is Lyon now")
    assert "<session>" not in reply


def test_a_small_model_is_shown_the_day_of_a_message_where_something_is_dated_by_it(tmp_path: Path) -> None:
    model = load(checkpoints.make(tmp_path / "model", "qwen3"), device="cpu")
    model.settings = model.settings.model_copy(update={"window": 4096, "prompts": "english"})

    def seen(message: str) -> str:
        mine = memory.scope(message)
        mine.actions.engine = script = Scripted(model, ["[]"])  # type: ignore[assignment]
        mine.add(message, timestamp="2026-12-01T10:00")
        return next(prompt for prompt in script.prompts if "Write question-answer pairs" in prompt)

    with Memory(model, tmp_path / "home") as memory:
        for message in ("My sister visits us next Friday.", "The rent is $1,300 now.", "Two\nlines,  and  spaces."):
            assert "DATE" not in seen(message) and message in seen(message)
        assert "DATE: 10:00 am on 1 December, 2026" in seen("We saw a whale yesterday!")
        assert "yesterday (30 November 2026)" in seen("We saw a whale yesterday!")


def test_a_question_about_who_speaks_is_refused_where_nothing_was_said(tmp_path: Path) -> None:
    model = load(checkpoints.make(tmp_path / "model", "qwen3"), device="cpu")
    model.settings = model.settings.model_copy(
        update={"window": 4096, "prompts": "english", "max_new_tokens_memory": 3}
    )
    system = {"role": "system", "content": "Be brief."}
    turns = [{"role": "user", "content": "My flight is on Friday."}, {"role": "assistant", "content": "Friday, noted."}]

    with Memory(model, tmp_path / "home") as memory:
        mine = memory.scope("u")
        mine.actions.talking = script = Scripted(model, [])  # type: ignore[assignment]
        asked = {"role": "user", "content": "When is my flight?"}
        refused = mine.chat([system, asked])
        assert (refused.text, refused.source) == (model.wordings.refusal, "nothing") and not script.prompts
        assert mine.chat([system, *turns, asked]).source == "base"  # the memory does not know, what was said does
        assert "Friday, noted." in script.prompts[-1] and "Be brief." in script.prompts[-1]
        assert mine.chat([{"role": "system", "content": "The flight is on Friday."}, asked]).source == "base"
        assert mine.chat("What should I cook tonight?").source == "base"


def test_what_a_system_text_says_nobody_told() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert _context(turns) == "user: Hi"


def test_a_refused_question_is_asked_back() -> None:
    turns = [{"role": "user", "content": "When is my birthday?"}, {"role": "assistant", "content": NO_INFORMATION}]
    before = _context(turns)
    assert before == "assistant: I do not know. When is my birthday?"
    assert session([("", "It is on 3 March.")], None, before) == f"{before}\nuser: It is on 3 March."


def test_system_texts_stay_and_how_a_reply_is_chosen_reaches_the_engine(tmp_path: Path) -> None:
    model = load(checkpoints.make(tmp_path / "model", "qwen3"), device="cpu")
    model.settings = model.settings.model_copy(update={"window": 4096, "max_new_tokens_memory": 3})
    heard: list[Any] = []

    class Heard(Scripted):
        def generate(self, requests: Any, *args: Any, **more: Any) -> Any:
            heard.extend(requests)
            return super().generate(requests, *args, **more)

    with Memory(model, tmp_path / "home") as memory:
        mine = memory.scope("u")
        mine.actions.talking = Heard(model, [])  # type: ignore[assignment]
        turns = [{"role": "system", "content": "Be brief."}]
        for number in range(5):
            turns += [{"role": "user", "content": f"u{number}"}, {"role": "assistant", "content": f"a{number}"}]
        turns.append({"role": "user", "content": "Go on."})
        mine.chat(turns, learn=False)
        mine.chat(
            turns, learn=False, sampling=GenerationConfig(0.5, 0.9, 5, max_new_tokens=2, seed=7, stop_texts=("x",))
        )
    plain, chosen = heard
    assert (plain.max_new_tokens, plain.temperature, plain.stop_texts) == (3, 0.0, ())
    fields = (chosen.max_new_tokens, chosen.temperature, chosen.top_p, chosen.seed, chosen.stop_texts)
    assert fields == (2, 0.5, 0.9, 7, ("x",))
    prompt = model.tokenizer.decode(plain.prompt_ids)
    assert "Be brief." in prompt and "a4" in prompt and "u1" not in prompt


def test_turns_that_were_read_are_not_read_again(tmp_path: Path) -> None:
    model = load(checkpoints.make(tmp_path / "model", "qwen3"), device="cpu")
    model.settings = model.settings.model_copy(update={"window": 4096, "max_new_tokens_memory": 3})
    read: list[int] = []
    turns = [{"role": "user", "content": "Tell me something of the sea. " * 8}]
    handle = model.hf.model.layers[0].mlp.register_forward_pre_hook(lambda _, args: read.append(args[0].shape[1]))
    with Memory(model, tmp_path / "home") as memory:
        said = memory.chat(turns, learn=False, user_id="u").text
        first = max(read)
        turns += [{"role": "assistant", "content": said}, {"role": "user", "content": "Go on."}]
        read.clear()
        again = memory.chat(turns, learn=False, user_id="u").text
    assert first > 64 and max(read) < first / 2
    handle.remove()
    with Memory(model, tmp_path / "another") as memory:
        assert memory.chat(turns, learn=False, user_id="u").text == again
