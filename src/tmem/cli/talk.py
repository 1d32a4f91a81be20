"""``tmem demo`` of a model that speaks English: told, written, dropped, asked, put right, refused, forgotten."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tmem.model import Model
from tmem.store.memory import Memory
from tmem.store.results import Answer, Receipt
from tmem.store.scoped import ScopedMemory

DAY = "2023-05-08T13:56"
TOLD = (
    "I just moved to Lisbon, and I work as a nurse at the children's hospital now.",
    "My sister Ana has two cats. They are called Miso and Tofu.",
    "We saw a whale yesterday! The boat tour was $45.",
    "Hi! How are you today?",
    "The dentist appointment is on Tuesday.",
)
ASKED = (
    "Which city am I living in?",
    "What is my profession?",
    "How many cats does my sister Ana have?",
    "When did we see the whale?",
    "How much did the boat tour cost?",
    "What day do I have to see the dentist?",
)
CORRECTION, PUT_RIGHT = "No, the dentist appointment is on Friday.", "When do I see the dentist?"
NEVER_TOLD = "What is my shoe size?"
GENERAL = "What is the capital of France?"


def talk(model: Model, out: Console) -> None:
    """Tell a memory something in plain English and show what becomes of it."""
    out.rule("[bold]TMEM: a model that learns what you tell it")
    out.print(
        f"{escape(model.name)}: {model.hf.num_parameters() / 1e6:.0f} M parameters, frozen. What you tell it becomes "
        "questions and answers; those are written into small matrices of your own, and the text is dropped.\n"
    )
    with tempfile.TemporaryDirectory() as home, Memory(model, home) as memories:
        memory = memories.scope(user_id="you")
        for text in TOLD:
            out.print(f"[bold]you[/bold]  {escape(text)}", highlight=False)
            _show_learned(memory.add(text, timestamp=DAY), out)
        held = memory.stats()
        out.print(
            f"\nAll text is gone. What answers from here on is theta_0 + Delta ({held['bytes'] / 1e6:.1f} MB), asked a "
            "bare question.\n"
        )
        for question in ASKED:
            _show_answer(question, memory.ask(question), out)
        out.print(f"\n[bold]you[/bold]  {escape(CORRECTION)}", highlight=False)
        _show_learned(memory.add(CORRECTION, timestamp=DAY), out)
        _show_answer(PUT_RIGHT, memory.ask(PUT_RIGHT), out)
        out.print("\nNever told, and of the world:")
        _show_answer(NEVER_TOLD, memory.ask(NEVER_TOLD), out)
        _show_answer(GENERAL, memory.ask(GENERAL, unknown="base"), out)
        _forget(memory, Path(home), out)
    out.print("\nTalk to it: tmem chat -u me. The same in another world, in seconds: tmem demo --model persona-nano.")


def _show_learned(receipt: Receipt, out: Console) -> None:
    for pair in receipt.pairs:
        past = "  [dim]takes the place of an earlier answer[/dim]" if pair["supersedes"] else ""
        out.print(f"       [cyan]{escape(pair['question'])}[/cyan] {escape(pair['answer'])}{past}", highlight=False)
    if not receipt.pairs:
        out.print("       [dim]nothing to remember[/dim]")
    else:
        out.print(f"       [dim]written in {receipt.milliseconds / 1000:.1f} s[/dim]", highlight=False)


def _show_answer(question: str, answer: Answer, out: Console) -> None:
    source = {"nothing": "it was never told", "base": "from theta_0 alone", "text": "from its pair"}
    out.print(
        f"[bold]{escape(question)}[/bold] [green]{escape(answer.text)}[/green] "
        f"[dim]{source.get(answer.source, 'from the weights')}, {answer.milliseconds / 1000:.1f} s[/dim]",
        highlight=False,
    )


def _forget(memory: ScopedMemory, home: Path, out: Console) -> None:
    """Forget the first pair that is asked for, and look for it."""
    gone = memory.get_all()[0]
    receipt = memory.forget([gone["id"]])
    left = any(gone["question"].encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())
    same = memory.verify(deep=True)["weights"] == receipt.details["weights"]
    out.print(
        f"\nForget [cyan]{escape(gone['question'])}[/cyan] {escape(gone['answer'])}\n"
        f"  written anew without it in {receipt.milliseconds / 1000:.1f} s; the weights are "
        f"{'the same' if same else 'NOT the same'} as if it had never been told; "
        f"its text {'is still' if left else 'is nowhere'} in the home",
        highlight=False,
    )
    _show_answer(gone["question"], memory.ask(gone["question"]), out)
