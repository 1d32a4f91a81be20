"""What weights add to text, and what each part of a write is worth: persona conversations, everything asked once.

    python benchmarks/voices.py                          # persona-nano, own extraction, three seeds
    python benchmarks/voices.py --given                  # the pairs that the world knows to be told
    python benchmarks/voices.py --given --alone --set fresh.beside=0

A write from zero depends on the pairs that hold in the end alone, so one write stands for all of a stream, and every
way of reading is tried on the same weights. F1 over all kinds of question, answerable ones and refusals, and paired
differences with 95 % intervals over conversations.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tmem.agent.extraction import QAPair, filter_pairs, parse
from tmem.agent.prompts import PROMPTS
from tmem.cli.evaluate import recipe_changes
from tmem.fastweights import Delta
from tmem.files import write_json
from tmem.model import HFEngine, Model, Request, load
from tmem.model.answering import as_asked
from tmem.model.contents import Job, nothing, write_pairs
from tmem.model.gate import read
from tmem.model.request import Voices
from tmem.policies.weights import AGAIN, joined
from tmem.retrieval import BM25
from tmem.seeds import derive
from tmem.tasks.base import Task
from tmem.tasks.persona import Persona
from tmem.tasks.scoring import f1
from tmem.texts import fold

SHOWN = 10  # notes or pairs in a prompt


def extracted(model: Model, engine: HFEngine, task: Task, readings: int) -> list[tuple[str, str]]:
    """The pairs that hold after all sessions, by theta_0's own extraction."""
    prompts, history = PROMPTS[model.settings.prompts], list[QAPair]()
    current: dict[str, tuple[str, str]] = {}
    most = model.settings.max_new_tokens_extract
    for number, unit in enumerate(task.episode.units):
        prompt = tuple(model.encode_chat(prompts.extraction(unit, None, history)))
        requests = [Request(prompt, max_new_tokens=most, stop="json")]
        for again in range(readings - 1):
            seed = derive(task.episode.id, number, again, "extract")
            requests.append(Request(prompt, max_new_tokens=most, stop="json", temperature=AGAIN, seed=seed))
        found, _ = filter_pairs(joined([parse(done.text).pairs for done in engine.generate(requests)]), history)
        history += found
        for pair in found:
            current.pop(fold(pair.question), None)
            current[fold(pair.question)] = pair.question, pair.answer
    return list(current.values())


def given(task: Task) -> list[tuple[str, str]]:
    """The pairs that hold after all sessions, as the world knows them to be told."""
    return list({fold(q): (q, a) for q, a, _ in task.episode.gold}.values())


class Reading:
    """Every way of answering the questions of some conversations, on weights that were written once."""

    def __init__(self, model: Model, tasks: Sequence[Task], pairs: Sequence[Sequence[tuple[str, str]]], recipe: Any):
        self.model, self.tasks, self.pairs, self.recipe = model, tasks, pairs, recipe
        self.engine, self.fast = HFEngine(model), model.fast(recipe)
        began = time.perf_counter()
        written = write_pairs(model, recipe, [Job(nothing(model, recipe), own, len(own)) for own in pairs])
        self.seconds = (time.perf_counter() - began) / len(tasks)
        self.tokens = sum(account.tokens for _, account in written) / len(tasks)
        self.delta = Delta.cat([contents.delta for contents, _ in written])
        self.contents = [contents for contents, _ in written]

    def rows(self) -> Iterator[tuple[int, Any, str, int | None]]:
        """Every question, with the words in which its memory is asked, and the row of its B."""
        first = 0
        for place, (task, contents) in enumerate(zip(self.tasks, self.contents, strict=True)):
            questions = [ask.text for ask in task.episode.asks]
            asked = read(as_asked(self.model, self.recipe, questions, self.pairs[place]), self.engine)
            for ask, (words, own, _) in zip(task.episode.asks, asked, strict=True):
                yield place, ask, words, first + contents.places[own or 0] if contents.blocks else None
            first += len(contents.blocks)

    def text(self, kind: str, place: int, question: str) -> str:
        task = self.tasks[place]
        if kind == "full":
            return "\n\n".join(task.episode.units)
        notes = [note for note, _ in task.episode.notes]
        if kind == "pairs":
            notes = [f"{question} {answer}" for question, answer in self.pairs[place]]
        return "\n".join(notes[i] for i in BM25(notes).top(question, SHOWN)) if notes else ""

    def answers(self, kind: str | None, weight: float | None = None) -> list[str]:
        """Answers from text of a kind (None: from the weights alone), with a voice of some weight or without."""
        prompts, requests = PROMPTS[self.model.settings.prompts], []
        for place, ask, words, row in self.rows():
            bare = tuple(self.model.bare(words))
            if kind is None:
                requests.append(Request(bare, row, self.model.settings.max_new_tokens_answer))
                continue
            prompt = tuple(self.model.encode_chat(prompts.answer(ask.text, self.text(kind, place, ask.text))))
            voices = None if weight is None else Voices(bare, weight, self.model.refusal)
            room = self.model.settings.max_new_tokens_answer
            requests.append(Request(prompt, None if weight is None else row, room, voices=voices))
        return [done.text.strip() for done in self.engine.generate(requests, self.delta, self.fast)]

    def scores(self, texts: Sequence[str]) -> dict[str, Any]:
        """F1 over all, answerable and adversarial questions and by kind, and the mean of every conversation.

        ``refused``: by kind, the share of questions that are refused, %.
        """
        said, found, refused, means = iter(texts), dict[str, list[float]](), dict[str, list[float]](), []
        refusal = fold(self.model.wordings.refusal)
        for task in self.tasks:
            means.append(0.0)
            for item in task.items:
                text, kind = next(said), item.category
                value = 100 * f1(text, item.gold[0])
                means[-1] += value / len(task.items)
                for name in ("all", "refusals" if kind == "adversarial" else "answerable", kind):
                    found.setdefault(name, []).append(value)
                refused.setdefault(kind, []).append(100 * float(fold(text) == refusal))
        shares = {kind: sum(values) / len(values) for kind, values in refused.items()}
        scores = {name: sum(values) / len(values) for name, values in found.items()}
        return scores | {"by conversation": means, "refused": shares}


def difference(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """The mean paired difference with its interval over conversations."""
    gaps = np.array(one) - np.array(other)
    drawn = gaps[np.random.default_rng(0).integers(0, len(gaps), (4000, len(gaps)))].mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(gaps.mean()), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="persona-nano")
    parser.add_argument("--seeds", default="606,707,808")
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--facts", type=int, default=16)
    parser.add_argument("--readings", type=int, default=1, help="how often each session is read for pairs")
    parser.add_argument("--given", action="store_true", help="the pairs that the world knows to be told")
    parser.add_argument("--alone", action="store_true", help="only the weights alone")
    parser.add_argument("--set", action="append", default=[], help="change the recipe: fresh.noise=0")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model)
    recipe = model.recipe("tmem", **recipe_changes(args.set))
    tasks = [task for seed in args.seeds.split(",") for task in Persona(args.facts, args.episodes).tasks(int(seed))]
    engine = HFEngine(model)
    pairs = [given(task) if args.given else extracted(model, engine, task, args.readings) for task in tasks]
    reading = Reading(model, tasks, pairs, recipe)
    print(f"{len(tasks)} conversations, {sum(map(len, pairs)) / len(pairs):.1f} pairs each, {args}")
    print(f"one write: {reading.seconds:.1f} s and {reading.tokens:,.0f} tokens a memory")
    results: dict[str, Any] = {}

    def show(name: str, make: Callable[[], list[str]], against: str | None = None) -> None:
        results[name] = found = reading.scores(make())
        kinds = {kind: round(value) for kind, value in found.items() if kind not in ("by conversation", "refused")}
        line = f"{name:28} {found['all']:5.1f} / {found['answerable']:5.1f} / {found['refusals']:5.1f}"
        if against is not None:
            gap = difference(found["by conversation"], results[against]["by conversation"])
            line += "   against {}: {:+.1f} [{:+.1f}, {:+.1f}]".format(against, *gap)
        print(
            f"{line}   {kinds}, refused: { ({kind: round(value) for kind, value in found['refused'].items()}) }",
            flush=True,
        )

    if args.alone:
        show("weights alone", lambda: reading.answers(None))
    else:
        for kind in ("pairs", "full", "rag"):
            show(kind, lambda kind=kind: reading.answers(kind))
        show("weights alone", lambda: reading.answers(None), "pairs")
        for kind in ("full", "rag", "pairs"):
            weight = recipe.fresh.voice if kind == "full" else recipe.fresh.voice_notes
            show(f"{kind} and weights", lambda kind=kind, weight=weight: reading.answers(kind, weight), kind)
    if args.out is not None:
        write_json(args.out, json.loads(json.dumps(results)))


if __name__ == "__main__":
    main()
