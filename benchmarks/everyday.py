"""A person talks to a memory, and asks it: everyday English through `Memory.add` and `Memory.ask`.

    python benchmarks/everyday.py --model smollm2                  # the half for working on the library
    python benchmarks/everyday.py --model smollm2 --half test      # for tables that are published

Every message is told as a user would tell it, dated where the statement is; weights are written once, when all of a
task is told. Beside it: theta_0 without anything, and with all messages in its prompt. F1 by kind of question, what was
never said by how much of it is refused, both in %, with 95 % intervals over tasks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import torch

from tmem import Memory
from tmem.agent.prompts import PROMPTS
from tmem.errors import UsageError
from tmem.evaluation.stats import Score, estimate
from tmem.files import write_json
from tmem.model import HFEngine, Model, Request, load
from tmem.tasks.everyday import Everyday, Statement, statements
from tmem.tasks.scoring import f1
from tmem.texts import NO_INFORMATION, fold

Answers = list[str]


def told(memory: Memory, user: str, own: Sequence[Statement]) -> Counter[str]:
    """Tell a task's statements, and write what holds in the end, once; how many pairs came, and were dropped."""
    listener, counts, held = memory.scope(f"{user}, listening"), Counter[str](), dict[str, tuple[str, str]]()
    for said, date in [(one.said, one.date) for one in own] + [(one.later, "") for one in own if one.later]:
        messages = [{"role": "user", "name": name, "content": text} for name, text in said]
        receipt = listener.add(messages, timestamp=date or None, absorb=False)
        for pair in receipt.pairs:
            held.pop(pair["supersedes"] or "", None)
            held[pair["id"]] = pair["question"], pair["answer"]
        counts["pairs"] += len(receipt.pairs)
        counts["messages"] += 1
        counts["dropped"] += len(receipt.rejected)
    if held:
        memory.add(pairs=list(held.values()), user_id=user)
    return counts


def by_theta(model: Model, everyday: Everyday, full: bool) -> Answers:
    """What theta_0 answers to all questions, with all messages in its prompt or none."""
    prompts, requests = PROMPTS[model.settings.prompts], []
    for task in everyday.all:
        text = "\n\n".join(task.episode.units) if full else ""
        for ask in task.episode.asks:
            prompt = tuple(model.encode_chat(prompts.answer(ask.text, text)))
            requests.append(Request(prompt, max_new_tokens=model.settings.max_new_tokens_answer))
    return [done.text for done in HFEngine(model).generate(requests)]


def show(name: str, everyday: Everyday, answers: Answers) -> dict[str, float]:
    """A row of the table, and its means."""
    scores, refused = dict[str, list[Score]](), list[Score]()
    replies = iter(answers)
    for task in everyday.all:
        for item in task.items:
            reply = everyday.prediction(item, next(replies), 0)
            if not item.evidence:
                said = float(fold(reply) == fold(NO_INFORMATION))
                refused.append(Score(1, task.episode.id, said))
                continue
            value = Score(1, task.episode.id, max(f1(reply, gold) for gold in item.gold))
            for kind in ("answerable", item.category):
                scores.setdefault(kind, []).append(value)
    means = {kind: estimate(own) for kind, own in {**scores, "never said": refused}.items()}
    cells = [
        f"{100 * own['mean']:.1f} [{100 * (own['low'] or 0):.0f}, {100 * (own['high'] or 0):.0f}]"
        for own in means.values()
    ]
    if name:
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return {kind: own["mean"] for kind, own in means.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--half", default="dev")
    parser.add_argument("--tasks", type=int, help="only the first")
    parser.add_argument("--out", type=Path, help="every question with its answers, JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    everyday, model = Everyday(args.half), load(args.model)
    everyday.all = everyday.all[: args.tasks]
    groups = [
        list(own) for _, own in groupby((one for one in statements() if one.half == args.half), lambda one: one.task)
    ]
    answers, sources, counts = Answers(), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as home, Memory(model, home) as memory:
        for place, (task, own) in enumerate(zip(everyday.all, groups, strict=False)):
            counts += told(memory, f"user-{place}", own)
            for ask in task.episode.asks:
                try:
                    found = memory.ask(ask.text, user_id=f"user-{place}")
                except UsageError:  # nothing was learned at all
                    answers.append(NO_INFORMATION)
                    continue
                sources[found.source] += 1
                answers.append(found.text)
            print(f"{place + 1} of {len(everyday.all)}", file=sys.stderr)
    kinds = show("", everyday, answers)
    print(f"{args.model}, {args.half}: {dict(counts)}, answered by {dict(sources)}")
    print("| | " + " | ".join(kinds) + " |\n|" + "---|" * (len(kinds) + 1))
    every = {"memory": answers, "all messages in the prompt": by_theta(model, everyday, True)}
    every["the question alone"] = by_theta(model, everyday, False)
    for name, own in every.items():
        show(name, everyday, own)
    if args.out is not None:
        items = [item for task in everyday.all for item in task.items]
        rows = [
            {"question": item.question, "gold": item.gold, "kind": item.category}
            | {name: own[place] for name, own in every.items()}
            for place, item in enumerate(items)
        ]
        write_json(args.out, rows)


if __name__ == "__main__":
    main()
