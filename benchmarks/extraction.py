"""What an extraction finds: of passages and sessions that nobody trained on, the answers that people asked for.

    python benchmarks/extraction.py --model smollm2 --data squad_dev.json.gz
    python benchmarks/extraction.py --model smollm2 --data locomo10.json --conversations conv-30,conv-44 --passages 0
    python benchmarks/extraction.py --data locomo10.json --records out/locomo-smollm2      # of `tmem eval locomo`

Passages of SQuAD's articles that `tmem train rows squad` holds out, or LoCoMo's sessions in parts. One greedy
extraction, and further ones that are sampled: pairs of all of them together. Found: a human answer with an F1 of 0.5 or
more to some pair's answer. Of an evaluation's records: the pairs of the sessions in which a question's evidence stands.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch

from tmem.agent.extraction import QAPair, parse
from tmem.agent.prompts import PROMPTS
from tmem.evaluation.records.files import read_records
from tmem.evaluation.stats import Score, estimate
from tmem.model import HFEngine, Request, load
from tmem.seeds import derive
from tmem.tasks.locomo import LoCoMo
from tmem.tasks.scoring import f1
from tmem.texts import fold
from tmem.training.sources.locomo import locomo
from tmem.training.sources.squad import squad

AT_ONCE = 8


def of_records(folder: Path, data: Path) -> None:
    """What the pairs of an evaluation's own extractions answer; of its memories the first that has pairs."""
    records = [one for one in read_records(folder) if one["memory"] in ("lookup", "pairs", "tmem")]
    records = [one for one in records if one["memory"] == records[0]["memory"]]
    written = {one["episode"]: one["writes"] for one in records if one["type"] == "episode"}
    evidence = {item.id: set(item.evidence) for task in LoCoMo(data, False).tasks(0) for item in task.items}
    near, anywhere = list[Score](), list[Score]()
    for one in records:
        if one["type"] != "question" or one["category"] == "adversarial":
            continue
        for scores, writes in (
            (near, [write for write in written[one["episode"]] if evidence[one["id"]] & set(write["units"])]),
            (anywhere, written[one["episode"]]),
        ):
            found = (f1(answer, gold) for write in writes for _, answer in write["pairs"] for gold in one["gold"])
            scores.append(Score(1, one["episode"], float(max(found, default=0.0) >= 0.5)))
    for name, scores in (("of the evidence's sessions", near), ("of the whole conversation", anywhere)):
        share = estimate(scores)
        print(f"answered by a pair {name}: {100 * share['mean']:.1f} % of {len(scores)}", end=" ")
        print(f"[{100 * (share['low'] or 0):.1f}, {100 * (share['high'] or 0):.1f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--data", type=Path, required=True, help="SQuAD's passages as SEAL ships them, or LoCoMo")
    parser.add_argument("--conversations", help="of LoCoMo")
    parser.add_argument("--records", type=Path, help="a folder of tmem eval locomo: its extractions, no new ones")
    parser.add_argument("--passages", type=int, default=60, help="0: all")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--tokens", type=int, default=512, help="of an extraction, at most")
    args = parser.parse_args()
    if args.records:
        of_records(args.records, args.data)
        return
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
