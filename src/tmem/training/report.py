"""What a training did, from its ``training.json`` and ``metrics.jsonl``: tables, and curves on one offline page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from tmem.errors import DataError
from tmem.evaluation.records.files import read_lines
from tmem.evaluation.reporting.page import write
from tmem.evaluation.reporting.report import find_runs
from tmem.evaluation.reporting.svg import COLOURS, Figure, drawn
from tmem.evaluation.reporting.tables import Section, Table
from tmem.files import read_json
from tmem.training.checkpoint import ABOUT, METRICS

SMOOTH = 0.8  # of a curve's past in each of its points; drawn over the points themselves


@dataclass(frozen=True)
class Training:
    """One recorded training: what it is, its steps, its looks at held-out episodes, and sources of its own reward."""

    folder: str
    about: dict[str, Any]
    steps: list[dict[str, Any]]
    looks: list[dict[str, Any]]
    rewards: list[dict[str, Any]]

    @property
    def label(self) -> str:
        return Path(self.folder).name


def find(folders: Sequence[Path]) -> list[Training]:
    """Every training at or below these folders. Raises :class:`DataError` for a folder without any."""
    return [_read(place) for place in find_runs(folders, ABOUT, "training", "tmem train rl")]


def _read(folder: Path) -> Training:
    records = list(read_lines(folder, METRICS))
    for where, record in records:
        if "type" not in record or "step" not in record:
            raise DataError(f"{where}: no figures of a training; give another folder")
    steps = [record for _, record in records if record["type"] == "step"]
    looks = [record for _, record in records if record["type"] == "held out" and ("f1" in record or "loss" in record)]
    rewards = [record for _, record in records if record["type"] == "reward"]
    return Training(str(folder), read_json(folder / ABOUT), steps, looks, rewards)


def sections(trainings: Sequence[Training]) -> list[Section]:
    """Before and after of every training, then each on its own."""
    rows = [
        [training.label, str(training.looks[-1]["step"]), *_before_after(training.looks)]
        for training in trainings
        if training.looks and "spec" in training.about
    ]
    columns = ["training", "steps", "F1", "EM", "extraction recall", "precision", "recall after write", "pairs"]
    note = "Greedy rollouts of held-out episodes, before → after."
    first = Section("Before and after", tables=[Table("Held-out episodes", columns, rows, note)] if rows else [])
    return [first, *map(_section, trainings)]


def _before_after(looks: Sequence[dict[str, Any]]) -> list[str]:
    paths = [
        ("f1",),
        ("em",),
        ("extraction", "recall"),
        ("extraction", "precision"),
        ("recall_after_write",),
        ("pairs",),
    ]
    return [_pair(looks, *path) for path in paths]


def _pair(looks: Sequence[dict[str, Any]], *path: str) -> str:
    before, after = (value_at(looks[place], path) for place in (0, -1))
    return "" if before is None or after is None else f"{before:.3f} → {after:.3f}"


def value_at(figures: Any, path: Sequence[str]) -> float | None:
    """A number inside nested figures, None if there is none."""
    for key in path:
        figures = figures.get(key) if isinstance(figures, dict) else None
    return None if figures is None else float(figures)


def _section(training: Training) -> Section:
    if "spec" not in training.about:
        return _supervised(training)
    about, spec = training.about, training.about["spec"]
    chosen = {
        key: about[key] for key in ("tasks", "group", "parts", "lr", "advantage", "weighting", "credit", "clip", "kl")
    }
    facts = [
        ("folder", training.folder),
        ("task", f"{spec['bench']} {json.dumps(about['data'])}"),
        ("model", f"{spec['model']} ({about['model_hash'][:12]}), memory {about['memory']}"),
        ("learning", ", ".join(f"{key} {value}" for key, value in chosen.items())),
        ("reward", ", ".join(f"{key} {value}" for key, value in about["reward"].items())),
        ("seed", str(about["seed"])),
    ]
    section = Section(training.label, facts)
    dropped = [text for step in training.steps for text in step["dropped"]]
    if dropped:
        section.remarks.append(f"{len(dropped)} episodes or groups were dropped; the first: {dropped[0]}")
    for change in training.rewards[1:]:
        section.remarks.append(f"the source of the reward changed after step {change['step']}")
    if training.looks:
        kinds = sorted({kind for look in training.looks for kind in look["by_category"]})
        rows = [[kind, _pair(training.looks, "by_category", kind, "f1")] for kind in kinds]
        section.tables.append(Table("F1 by kind of question, before → after", ["kind", "F1"], rows))
        memories = list(dict.fromkeys(name for look in training.looks for name in look.get("by_memory", ())))
        rows = [[name, _pair(training.looks, "by_memory", name, "f1")] for name in memories]
        if rows:
            section.tables.append(Table("F1 by memory, before → after", ["memory", "F1"], rows))
    return section


def _supervised(training: Training) -> Section:
    """A training on replies that are wanted."""
    about, steps = training.about, training.steps
    chosen = {key: about[key] for key in ("epochs", "tokens", "lr", "slow_lora", "held_out")}
    facts = [
        ("folder", training.folder),
        ("rows", ", ".join(digest[:12] for digest in about["data"])),
        ("model", f"{about['model']} ({about['model_hash'][:12]}), {about['dtype']}"),
        ("learning", ", ".join(f"{key} {value}" for key, value in chosen.items())),
        ("seed", str(about["seed"])),
        (
            "read",
            f"{sum(step['tokens'] for step in steps):,} tokens, of which {sum(s['learnt'] for s in steps):,} replies",
        ),
    ]
    section = Section(training.label, facts)
    if training.looks:
        rows = [[str(look["step"]), f"{look['loss']:.3f}"] for look in training.looks]
        section.tables.append(Table("Loss on the held-out rows, nats a token", ["step", "loss"], rows))
    return section


def figures(trainings: Sequence[Training]) -> list[Figure]:
    """Curves of all trainings in one drawing each."""
    wanted: list[tuple[str, str, bool, list[tuple[str, ...]]]] = [
        ("loss", "Loss of held-out rows, nats a token.", True, [("loss",)]),
        ("f1", "F1 of held-out episodes.", True, [("f1",)]),
        ("em", "EM of held-out episodes.", True, [("em",)]),
        ("reward", "Reward of the rollouts: each step, and smoothed.", False, [("reward",)]),
        (
            "spread",
            "Spread of the rewards within a group: without any there is nothing to learn.",
            False,
            [("spread",)],
        ),
        ("extraction", "Facts told that were extracted right, held-out.", True, [("extraction", "recall")]),
        ("precision", "Extracted pairs that are right, held-out.", True, [("extraction", "precision")]),
        ("recall", "Written pairs that come back right after their write, held-out.", True, [("recall_after_write",)]),
        ("pairs", "Pairs per extraction.", False, [("pairs",)]),
        ("json", "Extractions that are valid JSON.", False, [("valid_json",)]),
        ("entropy", "Entropy of the policy per token that was learnt from, in nats.", False, [("entropy",)]),
        ("clipped", "Share of tokens whose gradient was cut off.", False, [("clip_fraction",)]),
        ("kl", "Divergence of the acting policy from the trained one, per token.", False, [("kl",)]),
        ("kl-start", "Divergence of the trained policy from the start, per token.", False, [("kl_start",)]),
        ("gradient", "Norm of the gradient before it is scaled down.", False, [("gradient",)]),
        ("delta", "Size of the fast weights after a write, |Delta|/|W|.", False, [("delta_ratio",)]),
        ("seconds", "Seconds of a step.", False, [("seconds", "rollouts"), ("seconds", "learning")]),
    ]
    found = [_curves(name, caption, trainings, held, paths) for name, caption, held, paths in wanted]
    return [figure for figure in found if figure is not None]


def _curves(
    name: str, caption: str, trainings: Sequence[Training], held: bool, paths: Sequence[tuple[str, ...]]
) -> Figure | None:
    lines: list[tuple[str, list[int], list[float]]] = []
    for training in trainings:
        for path in paths:
            records = training.looks if held else training.steps
            points = [(record["step"], value) for record in records if (value := value_at(record, path)) is not None]
            if points:
                label = training.label if len(paths) == 1 else f"{training.label}, {path[-1]}"
                lines.append((label, [step for step, _ in points], [value for _, value in points]))
    if not lines:
        return None
    return drawn(name, caption, _drawing(lines, held))


def _drawing(lines: Sequence[tuple[str, list[int], list[float]]], held: bool) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for place, (label, steps, values) in enumerate(lines):
            colour = COLOURS[(place + 1) % len(COLOURS)]
            if held:
                axes.plot(steps, values, color=colour, marker="o", label=label)
            else:
                axes.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
                axes.plot(steps, smooth(values), color=colour, label=label)
        axes.set_xlabel("step")

    return draw


def smooth(values: Sequence[float]) -> list[float]:
    """An exponential mean that begins at the first value."""
    return list(accumulate(values, lambda past, value: SMOOTH * past + (1 - SMOOTH) * value))


def write_page(trainings: Sequence[Training], path: Path) -> None:
    """Write the report as one offline HTML file; errors as :func:`tmem.evaluation.reporting.page.write`."""
    first, *others = sections(trainings)
    parts = [(first, figures(trainings)), *((section, []) for section in others)]
    introduction = (
        "theta_0 is trained by the outcome of episodes that run through the fast weights: both how it acts and "
        "what it writes into its own memory. Lines are trainings; a step runs each of its tasks several times."
    )
    write(path, "TMEM training report", introduction, parts)
