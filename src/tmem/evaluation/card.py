"""The write card: what a recipe does to a model, on one page. ``tmem card``.

Pairs of everyday life are written into one memory and asked again, in their own words and in others; what was never
told and what is about nobody is asked beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tmem.agent.prompts import PROMPTS
from tmem.errors import DataError, UsageError
from tmem.evaluation.reporting.svg import COLOURS, MARKS, Figure, drawn
from tmem.evaluation.stats import Estimate, Score, estimate
from tmem.fastweights import Delta, FastWeights, Recipe, WriteAccount, write
from tmem.fastweights.delta import active
from tmem.files import read_jsonl
from tmem.model import HFEngine, Model, Request
from tmem.model.answering import Known, answers, recalled
from tmem.model.contents import Contents, Job, nothing, write_pairs
from tmem.model.reading import gate_of
from tmem.model.score import answer_logits
from tmem.tasks.scoring import exact_match, f1

FOLDER = Path(str(files("tmem.evaluation") / "questions"))
# The first pairs, and the first questions about what was never told: rates and thresholds were chosen on them, and none
# of them is reported.
TUNED, NEVER_TUNED = 80, 220
HARM = 64  # general questions that are scored token by token
TOKENS = 12  # of theta_0's own answers, along which divergence is measured
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What a card asks: (question, answer, the question in other words); general questions; what was never told."""

    pairs: Sequence[tuple[str, str, str]]
    general: Sequence[str]
    never: Sequence[str]


def asked(path: Path | None = None, reported: bool = True) -> Asked:
    """The questions that come with the package; pairs from a file of yours instead: JSON lines with the same keys.

    ``reported``: those that nothing was chosen by; otherwise those that one may choose by.
    Raises :class:`DataError` naming the row that is none.
    """
    where = FOLDER / "pairs.jsonl" if path is None else path
    pairs = []
    for number, (_, row) in enumerate(read_jsonl(where), 1):
        texts = [row.get(key) for key in ("question", "answer", "reworded")]
        found = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
        if len(found) != 3:
            raise DataError(f"{where}: row {number} needs the texts question, answer and reworded")
        pairs.append((found[0], found[1], found[2]))
    general = [row["question"] for _, row in read_jsonl(FOLDER / "general.jsonl")]
    never = [row["question"] for _, row in read_jsonl(FOLDER / "never.jsonl")]
    if not reported:
        return Asked(pairs if path else pairs[:TUNED], general, never[:NEVER_TUNED])
    return Asked(pairs if path else pairs[TUNED:], general, never[NEVER_TUNED:])


def card(
    model: Model, recipe: Recipe, sizes: Sequence[int], questions: Asked, tell: Tell = lambda text: None
) -> dict[str, Any]:
    """The card of a recipe on a model: one entry for every size, with shares from 0 to 1 and their 95 % intervals."""
    if not sizes or min(sizes) < 1 or max(sizes) > len(questions.pairs):
        raise UsageError(f"sizes must be from 1 to {len(questions.pairs)}, the pairs that there are")
    tell("theta_0's answers to general questions")
    maker = _Card(model, recipe, questions)
    entries = []
    for size in sizes:
        tell(f"writing {size} pairs")
        entries.append(maker.entry(size, tell))
    gate = gate_of(model, recipe).keys.name if recipe.fresh is not None else None
    return {
        "model": model.name,
        "model_hash": model.identity,
        "recipe": recipe.model_dump(),
        "gate": gate,
        "device": model.device.type,
        "threads": torch.get_num_threads(),
        "sizes": entries,
    }


class _Card:
    def __init__(self, model: Model, recipe: Recipe, questions: Asked) -> None:
        self.model, self.recipe, self.questions = model, recipe, questions
        self.engine, self.fast = HFEngine(model), model.fast(recipe)
        self.plain = self._say([(model.bare(text), None) for text in questions.general], None)
        self.harm = Harm(model, questions.general[:HARM])

    def entry(self, size: int, tell: Tell) -> dict[str, Any]:
        model, questions = self.model, self.questions
        own = questions.pairs[:size]
        pairs = [(question, answer) for question, answer, _ in own]
        began = time.perf_counter()
        delta, rows, account = self._write(pairs)
        seconds = time.perf_counter() - began
        tell(f"asking a memory of {size} pairs")
        prompt = PROMPTS[model.settings.prompts].answer
        found: dict[str, Any] = {
            "pairs": size,
            "applied": account.applied,
            "seconds": seconds,
            "steps": account.steps,
            "tokens": account.tokens,
            "loss": account.loss[-1] if account.loss else None,
            "delta_ratio": account.delta_ratio,
            "blocks": delta.sessions,
        }
        gold = [answer for _, answer in pairs]
        for name, prompts in (
            ("same words", [model.bare(question) for question, _ in pairs]),
            ("new words", [model.bare(reworded) for _, _, reworded in own]),
            ("answer prompt", [model.encode_chat(prompt(question, "")) for question, _ in pairs]),
        ):
            said = self._say(list(zip(prompts, rows, strict=True)), delta)
            found[name] = _scored(said, gold)
        under = self._say([(model.bare(text), 0) for text in questions.general], delta)
        found["general, in force"] = {
            "divergence": self.harm.divergence(self.fast, delta),
            "changed": share([float(a != b) for a, b in zip(under, self.plain, strict=True)]),
        }
        if self.recipe.fresh is not None:
            found |= self._gated(pairs, [reworded for _, _, reworded in own], delta, rows)
        return found

    def _gated(
        self, pairs: Sequence[tuple[str, str]], reworded: Sequence[str], delta: Delta, rows: Sequence[int]
    ) -> dict[str, Any]:
        """What ``ask`` makes of it: the gate before the memory."""
        model, recipe, questions = self.model, self.recipe, self.questions
        keys = gate_of(model, recipe).keys.pairs(pairs)
        known = Known(pairs, delta, rows, keys, recalled(model, recipe, pairs, delta, rows))
        gold = [answer for _, answer in pairs]
        same = answers(model, recipe, known, [question for question, _ in pairs], engine=self.engine)
        new = answers(model, recipe, known, reworded, engine=self.engine)
        never = answers(model, recipe, known, questions.never, engine=self.engine)
        base = answers(model, recipe, known, questions.general, "base", self.engine)
        places = range(len(pairs))
        return {
            "held by weights": share([float(one) for one in known.recalled]),
            "ask, same words": _scored([one.text for one in same], gold),
            "ask, new words": _scored([one.text for one in new], gold)
            | {
                "own pair": share([float(one.pairs == (place,)) for place, one in zip(places, new, strict=True)]),
                "refused": share([float(one.text == model.wordings.refusal) for one in new]),
            },
            "never told, refused": share([float(one.text == model.wordings.refusal) for one in never]),
            "general, as theta_0": share(
                [float(one.source == "base" and one.text == text) for one, text in zip(base, self.plain, strict=True)]
            ),
        }

    def _write(self, pairs: Sequence[tuple[str, str]]) -> tuple[Delta, Sequence[int], WriteAccount]:
        model, recipe = self.model, self.recipe
        if recipe.fresh is not None:
            contents: Contents
            [(contents, account)] = write_pairs(model, recipe, [Job(nothing(model, recipe), pairs, len(pairs))])
            return contents.delta, contents.places, account
        examples = [model.example(*pair) for pair in pairs]
        delta, [account] = write(self.fast, self.fast.zeros(1), [examples], recipe, [0], replay=model.replay(recipe))
        return delta, [0] * len(pairs), account

    def _say(self, prompts: Sequence[tuple[list[int], int | None]], delta: Delta | None) -> list[str]:
        room = self.model.settings.max_new_tokens_answer
        requests = [Request(tuple(prompt), row, room) for prompt, row in prompts]
        return [done.text.strip() for done in self.engine.generate(requests, delta, self.fast)]


class Harm:
    """What a memory that is in force does to questions it is not about."""

    def __init__(self, model: Model, texts: Sequence[str]) -> None:
        self.model, self.prompts = model, [model.bare(text) for text in texts]
        said = HFEngine(model).generate([Request(tuple(prompt), None, TOKENS) for prompt in self.prompts])
        self.ids = [own.ids for own in said]
        self.before = self._scores(None, None)

    def divergence(self, fast: FastWeights, delta: Delta) -> float:
        """From theta_0, along what it says itself: nats a token, under the first block of a memory."""
        after = self._scores(fast, delta)
        kl = [float((b.exp() * (b - a)).sum(-1).mean()) for b, a in zip(self.before, after, strict=True)]
        return sum(kl) / len(kl)

    def _scores(self, fast: FastWeights | None, delta: Delta | None) -> list[Tensor]:
        """Log-probabilities of all tokens along theta_0's own answers, (A, V) each."""
        found = []
        for start in range(0, len(self.ids), 16):
            prompts, ids = self.prompts[start : start + 16], self.ids[start : start + 16]
            with active(fast, delta, [0] * len(ids)):
                found += [own.log_softmax(-1) for own in answer_logits(self.model, prompts, ids)]
        return found


def share(values: Sequence[float]) -> Estimate:
    """The mean of one value a question, with its interval."""
    return estimate([Score(0, str(place), value) for place, value in enumerate(values)])


def figure(result: dict[str, Any]) -> Figure:
    """Recall and harm against the number of pairs."""
    lines = {
        "ask, in the written words": ("ask, same words", "f1"),
        "ask, in new words": ("ask, new words", "f1"),
        "under Delta, in the written words": ("same words", "f1"),
        "under Delta, in new words": ("new words", "f1"),
        "never told: refused": ("never told, refused", None),
        "general answers as theta_0's": ("general, as theta_0", None),
    }
    sizes = [entry["pairs"] for entry in result["sizes"]]

    def draw(axes: Any) -> None:
        for number, (label, (name, part)) in enumerate(lines.items()):
            if any(name not in entry for entry in result["sizes"]):
                continue
            found = [entry[name] if part is None else entry[name][part] for entry in result["sizes"]]
            middle = [100 * one["mean"] for one in found]
            ends = [
                [100 * (one[end] if one[end] is not None else one["mean"]) for one in found] for end in ("low", "high")
            ]
            look = {"color": COLOURS[number], "marker": MARKS[number]}
            axes.plot(sizes, middle, label=label, **look)
            axes.fill_between(sizes, *ends, color=COLOURS[number], alpha=0.12, linewidth=0)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("pairs in one memory")
        axes.set_ylabel("F1 or share, %")
        axes.set_ylim(-3, 103)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))

    return drawn("card", f"{result['model']}, recipe {result['recipe']['name']}: recall and harm by pairs", draw, 8.0)


def _scored(said: Sequence[str], gold: Sequence[str]) -> dict[str, Any]:
    return {
        "f1": share([f1(text, answer) for text, answer in zip(said, gold, strict=True)]),
        "em": share([exact_match(text, answer) for text, answer in zip(said, gold, strict=True)]),
    }
