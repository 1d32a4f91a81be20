"""What is said in the midst of a chat: is it learnt, and nothing else, and is it answered?

    python benchmarks/midchat.py --model smollm2

`midchat.jsonl`, by hand, none of it trained on: messages that follow an exchange. *leans*: it means nothing without
that; *stands*: it has nothing to do with it; *mixed*: it begins as a reply and then stands by itself; *nothing*: it
tells nothing. Each is told to an empty memory after its exchange: messages whose fact was found, and pairs that say
something else. Then what is said: to those messages (it fits: no refusal, no echo and at most 25 words); to requests
and to the questions of `right.jsonl`, alone and after one of the exchanges (an answer: no refusal, and at least four
words or what the question accepts); and to questions about the user, of what an exchange told (*asked*) and of what it
did not (*never*: a refusal is right), by a memory that was told nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tmem import Memory, Reply
from tmem.files import read_jsonl
from tmem.model import GenerationConfig, load
from tmem.tasks import scoring
from tmem.texts import fold, is_none

HERE = Path(__file__).parent
SPOKEN_AT = "2026-03-10T18:00:00"  # a Tuesday
KINDS = ("leans", "stands", "mixed", "nothing")
LONGEST = 25  # words of what is said to a statement
LEAST = 4  # words of what is said to a request
SHORT = GenerationConfig(max_new_tokens=60)


def holds(answer: str, accepted: Sequence[str]) -> bool:
    """Whether an answer has the words of one that is accepted; ``|`` is between forms of it."""
    own = f" {fold(answer)} "
    return any(f" {fold(form)} " in own for one in accepted for form in one.split("|"))


def said_to(statement: str, reply: str) -> bool:
    """Whether a reply may follow a statement."""
    return not is_none(reply) and fold(reply) != fold(statement) and 0 < len(reply.split()) <= LONGEST


def exchange(before: Sequence[str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant"), before, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--verbose", action="store_true", help="all pairs and replies")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for _, row in read_jsonl(HERE / "midchat.jsonl")]
    told = [row for row in rows if row["kind"] in KINDS]
    asked = [row["said"] for row in rows if row["kind"] == "request"]
    right = [row for _, row in read_jsonl(HERE / "right.jsonl")]
    with tempfile.TemporaryDirectory() as home:
        memory = Memory(load(args.model), home)
        learnt(memory, told, args.verbose)
        fit = sum(said_to(row["said"], row["reply"]) for row in told)
        print(f"what is said to a statement fits: {fit} of {len(told)}")
        for kind in ("asked", "never"):
            own = [row for row in rows if row["kind"] == kind]
            for place, row in enumerate(own):
                row["reply"] = say(memory, exchange(row["before"]), row["said"], f"{kind}-{place}")
            good = sum(holds(row["reply"], row["facts"]) if row["facts"] else is_none(row["reply"]) for row in own)
            print(f"{kind}: right {good} of {len(own)}")
        for name, befores in (("alone", [[]] * len(told)), ("after an exchange", [row["before"] for row in told])):
            replies = [
                say(memory, exchange(befores[place % len(told)]) if befores[0] else [], one, f"r{place}")
                for place, one in enumerate([*asked, *(row["question"] for row in right)])
            ]
            done = [not is_none(reply) and len(reply.split()) >= LEAST for reply in replies[: len(asked)]]
            known = [
                bool(scoring.said(reply, row["answers"]).em)
                for reply, row in zip(replies[len(asked) :], right, strict=True)
            ]
            print(
                f"{name}: requests answered {sum(done)} of {len(done)}; questions {sum(known)} of {len(known)}, "
                f"refused {sum(is_none(reply) for reply in replies)} of {len(replies)}"
            )
            if args.verbose:
                for one, reply in zip(asked, replies, strict=False):
                    print(f"    {one}  ->  {reply!r}")
        if args.verbose:
            for row in (row for row in rows if "reply" in row):
                print(f"    {' / '.join(row['before'])} / {row['said']}  ->  {row['reply']!r}")


def learnt(memory: Memory, told: list[dict[str, Any]], verbose: bool) -> None:
    """Tell every message, keep what is said to it, and print what came of it."""
    for kind in KINDS:
        found = wrong = 0
        some = [row for row in told if row["kind"] == kind]
        for place, row in enumerate(some):
            reply = turn(memory, exchange(row["before"]), row["said"], f"learnt-{kind}-{place}", learn=True)
            row["reply"], receipt = reply.text, reply.learned
            pairs = [] if receipt is None else [(pair["question"], pair["answer"]) for pair in receipt.pairs]
            hits = [holds(answer, row["facts"]) for _, answer in pairs]
            also = [holds(answer, row.get("also", ())) for _, answer in pairs]
            missed = [pair for pair, hit, more in zip(pairs, hits, also, strict=True) if not (hit or more)]
            found, wrong = found + any(hits), wrong + len(missed)
            if verbose and (missed or (row["facts"] and not any(hits))):
                print(f"    {' / '.join(row['before'])} / {row['said']}  ->  {pairs}")
        of = f"facts found {found} of {len(some)}, " if kind != "nothing" else ""
        print(f"{kind}: {of}pairs that say something else {wrong}", flush=True)


def say(memory: Memory, earlier: list[dict[str, str]], said: str, user: str) -> str:
    """What an empty memory's model says."""
    return turn(memory, earlier, said, user, learn=False).text


def turn(memory: Memory, earlier: list[dict[str, str]], said: str, user: str, learn: bool) -> Reply:
    """A turn with a memory that was empty before."""
    turns = [*earlier, {"role": "user", "content": said}]
    return memory.scope(user).chat(turns, timestamp=SPOKEN_AT, learn=learn, sampling=SHORT)


if __name__ == "__main__":
    main()
