"""What a training changed of what it was not about: answers to general questions, against the model before it.

    python benchmarks/kept.py --model smollm2 --before smollm2-untaught

The write card's general questions, without those that the training rows hold (`--without`). Divergence in nats a token
along the first tokens of the earlier model's own answers, and some answers of both beside each other. Then other
questions, whose answers are known (`right.jsonl`, by hand, none of them trained on): how many of the replies have them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tmem.evaluation.card import TOKENS, asked
from tmem.evaluation.stats import Score, estimate
from tmem.files import read_jsonl
from tmem.model import HFEngine, Model, Request, load
from tmem.model.score import answer_logits
from tmem.tasks import scoring
from tmem.texts import fold

AT_ONCE = 16
REFUSAL = fold("No information available")
RIGHT = Path(__file__).with_name("right.jsonl")
LONGEST = 100  # tokens of a reply that may have the answer anywhere


def said(model: Model, questions: list[str], tokens: int) -> list[tuple[tuple[int, ...], str]]:
    requests = [Request(tuple(model.bare(question)), max_new_tokens=tokens) for question in questions]
    return [(done.ids, done.text) for done in HFEngine(model).generate(requests)]


def right(model: Model) -> list[Score]:
    """Whether an accepted answer stands in the reply to each question whose answer is known."""
    rows = [row for _, row in read_jsonl(RIGHT)]
    replies = said(model, [row["question"] for row in rows], LONGEST)
    return [
        Score(1, str(place), scoring.said(text, row["answers"]).em)
        for place, (row, (_, text)) in enumerate(zip(rows, replies, strict=True))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--before", default="smollm2-untaught")
    parser.add_argument("--without", type=Path, help="rows that were trained on")
    parser.add_argument("--shown", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    known = {fold(row["prompt"][-1]["content"]) for _, row in read_jsonl(args.without)} if args.without else set()
    questions = [question for question in asked().general if fold(question) not in known]
    before, after = load(args.before), load(args.model)
    first = said(before, questions, TOKENS)
    gaps = list[Score]()
    for start in range(0, len(questions), AT_ONCE):
        prompts = [before.bare(question) for question in questions[start : start + AT_ONCE]]
        ids = [own for own, _ in first[start : start + AT_ONCE]]
        pairs = zip(answer_logits(before, prompts, ids), answer_logits(after, prompts, ids), strict=True)
        for place, (a, b) in enumerate(pairs):
            old, new = a.log_softmax(-1), b.log_softmax(-1)
            gaps.append(Score(1, str(start + place), float((old.exp() * (old - new)).sum(-1).mean())))
    now = said(after, questions, TOKENS)
    same = [Score(1, str(place), float(a[0] == b[0])) for place, (a, b) in enumerate(zip(first, now, strict=True))]
    refused = sum(fold(text) == REFUSAL for _, text in now)
    for name, own in (("divergence, nats a token", gaps), ("first tokens the same", same)):
        found = estimate(own)
        print(f"{name}: {found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}] of {len(questions)} questions")
    print(f"refused as if it were a question of the memory: {refused}")
    for question, (_, old), (_, new) in list(zip(questions, first, now, strict=True))[: args.shown]:
        print(f"  {question}\n    before {old!r}\n    after  {new!r}")
    told, still = right(before), right(after)
    more = [b._replace(value=b.value - a.value) for a, b in zip(told, still, strict=True)]
    for name, own in (("right before", told), ("right after", still), ("difference", more)):
        found = estimate(own)
        print(f"{name}: {found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}] of {len(own)} known answers")


if __name__ == "__main__":
    main()
