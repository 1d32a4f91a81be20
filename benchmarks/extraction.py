"""What an extraction finds: of passages and sessions that nobody trained on, the answers that people asked for.

    python benchmarks/extraction.py --model smollm2 --data squad_dev.json.gz
    python benchmarks/extraction.py --model smollm2 --data locomo10.json --conversations conv-30,conv-44 --passages 0

Passages of SQuAD's articles that `tmem train rows squad` holds out, or LoCoMo's sessions in parts. One greedy
extraction, and further ones that are sampled: pairs of all of them together. Found: a human answer with an F1 of 0.5 or
more to some pair's answer.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch

from tmem.agent.extraction import QAPair, parse
from tmem.agent.prompts import PROMPTS
from tmem.evaluation.stats import Score, estimate
from tmem.model import HFEngine, Request, load
from tmem.seeds import derive
from tmem.tasks.scoring import f1
from tmem.texts import fold
from tmem.training.sources.locomo import locomo
from tmem.training.sources.squad import squad

AT_ONCE = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--data", type=Path, required=True, help="SQuAD's passages as SEAL ships them, or LoCoMo")
    parser.add_argument("--conversations", help="of LoCoMo")
    parser.add_argument("--passages", type=int, default=60, help="0: all")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--tokens", type=int, default=512, help="of an extraction, at most")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model)
    engine, prompts = HFEngine(model), PROMPTS[model.settings.prompts]
    if args.conversations:
        texts = locomo(args.data, args.conversations.split(","), model.count, model.settings.budget)
    else:
        texts = squad(args.data, 1, held_out=True)
    texts = random.Random(1).sample(texts, min(args.passages or len(texts), len(texts)))
    found: list[list[list[QAPair]]] = [[] for _ in texts]
    cut, lines, repeats = 0, 0, 0
    for turn in range(1 + args.samples):
        for start in range(0, len(texts), AT_ONCE):
            part = range(start, min(start + AT_ONCE, len(texts)))
            requests = [
                Request(
                    tuple(model.encode_chat(prompts.extraction(texts[place].text, None, ()))),
                    max_new_tokens=args.tokens,
                    stop="json",
                    temperature=args.temperature if turn else 0.0,
                    seed=derive(turn, place, "extraction"),
                )
                for place in part
            ]
            for place, done in zip(part, engine.generate(requests), strict=True):
                pairs = parse(done.text).pairs
                if not turn:
                    cut += len(done.ids) >= args.tokens
                    lines += len(pairs)
                    repeats += len(pairs) - len({fold(pair.question) for pair in pairs})
                found[place].append(pairs)

    print(
        f"{len(texts)} passages; greedy: {lines / len(texts):.1f} pairs each, {100 * repeats / max(lines, 1):.1f} % of "
        f"the questions asked again, {cut} cut off"
    )
    print("| extractions | human answers among the pairs | different pairs a passage | answers verbatim in the text |")
    print("|---|---|---|---|")
    names = ["greedy"] + [f"greedy and {count} sampled" for count in range(1, args.samples + 1)]
    for count, name in enumerate(names, 1):
        scores, different, verbatim = list[Score](), 0, 0
        for place, text in enumerate(texts):
            pairs = {(fold(pair.question), pair.answer) for one in found[place][:count] for pair in one}
            answers = {answer for _, answer in pairs}
            different += len(pairs)
            verbatim += sum(answer.lower() in text.text.lower() for _, answer in pairs)
            hits = [float(max((f1(answer, gold) for answer in answers), default=0.0) >= 0.5) for _, gold in text.pairs]
            scores += [Score(1, str(place), hit) for hit in hits]
        right = estimate(scores)
        print(
            f"| {name} | {100 * right['mean']:.1f} [{100 * (right['low'] or 0):.1f}, {100 * (right['high'] or 0):.1f}] "
            f"| {different / len(texts):.1f} | {100 * verbatim / max(different, 1):.0f} % |"
        )


if __name__ == "__main__":
    main()
