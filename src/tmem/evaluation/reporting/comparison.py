"""Runs beside each other, as far as they can be compared: by model, along L_max, along the length of the stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

# The subsets that are scored.
ALL, ANSWERABLE, NO_ABSTENTION = "all questions", "without adversarial questions", "without abstention questions"
Described = dict[str, Any]  # a run, as tmem.evaluation.reporting.report.describe gives it


def compare(runs: Sequence[Described]) -> dict[str, list[dict[str, Any]]]:
    """Groups of runs on the same data.

    ``models``: the headline score and the cost of every memory, run by run. ``budget`` and ``length``: by memory the
    headline along L_max and along the facts of a persona stream, for runs that differ in nothing else.
    """
    return {
        "models": [_side_by_side(group) for group in _grouped(runs, _is_data)],
        "budget": _lines(runs, "settings.budget"),
        "length": _lines(runs, "data.facts"),
    }


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    found: dict[str, Any] = {}
    for key, own in value.items():
        found |= flat(own, f"{prefix}{key}.") if isinstance(own, dict) else {f"{prefix}{key}": own}
    return found


def _traits(run: Described) -> dict[str, Any]:
    """What a result depends on, as flat keys such as "recipe.lr"; of a file its checksum, not its name."""
    left_out = ("command", "version", "taught", "data.file")
    return {key: value for key, value in flat(run["about"]).items() if key not in left_out}


def _is_data(trait: str) -> bool:
    return trait == "bench" or trait.startswith("data.")


# What a memory that retrieves may need for itself; everything else has to be the same in what is compared.
_OWN = ("settings.retriever", "settings.notes", "settings.top_k")


def same_but_for_retrieval(a: Described, b: Described) -> bool:
    """Whether two runs differ in nothing but how notes are cut and found."""
    traits = [{key: value for key, value in _traits(run).items() if key not in _OWN} for run in (a, b)]
    return traits[0] == traits[1]


def _grouped(runs: Sequence[Described], same: Callable[[str], bool]) -> list[list[Described]]:
    """Runs that agree in all traits that ``same`` picks."""
    groups: dict[str, list[Described]] = {}
    for run in runs:
        picked = {trait: value for trait, value in _traits(run).items() if same(trait)}
        groups.setdefault(json.dumps(picked, sort_keys=True), []).append(run)
    return list(groups.values())


def _side_by_side(group: list[Described]) -> dict[str, Any]:
    group = sorted(group, key=lambda run: (run["about"].get("parameters") or 0, run["about"]["settings"]["budget"]))
    measure = group[0]["headline"][0]
    return {
        "title": data_title(group[0]["about"]),
        "measure": measure,
        "constant": group[0]["constants"][ALL].get(measure),
        "runs": [
            {
                "label": _label(run, group),
                "folder": run["folder"],
                "parameters": run["about"].get("parameters"),
                "questions": run["questions"],
                "memories": _points(run, measure),
            }
            for run in group
        ],
    }


def _lines(runs: Sequence[Described], x: str) -> list[dict[str, Any]]:
    """By memory the headline along the trait ``x``, for each group of runs that has several values of it."""
    lines = []
    follows = {"data.sha256"} if _is_data(x) else set()  # other data have another checksum
    for group in _grouped([run for run in runs if x in _traits(run)], lambda trait: trait not in {x} | follows):
        group.sort(key=lambda run: _traits(run)[x])
        if _traits(group[0])[x] == _traits(group[-1])[x]:
            continue
        about, measure = group[0]["about"], group[0]["headline"][0]
        memories: dict[str, list[dict[str, Any]]] = {}
        for run in group:
            for memory, point in _points(run, measure).items():
                memories.setdefault(memory, []).append({"x": _traits(run)[x], **point})
        title = f"{about['model']} on {data_title(about, facts=x != 'data.facts')}"
        lines.append({"title": title, "measure": measure, "memories": memories})
    return lines


def _points(run: Described, measure: str) -> dict[str, dict[str, Any]]:
    """Score and cost of every memory of a run, and whether its model was taught to use that memory."""
    return {
        memory: {
            **own["scores"][ALL][measure],
            "tokens_per_question": own["cost"]["tokens_per_question"],
            "trained_per_question": own["cost"]["trained_per_question"],
            "taught": own["taught"],
        }
        for memory, own in run["memories"].items()
        if measure in own["scores"][ALL]
    }


def is_taught(about: dict[str, Any], memory: str) -> bool | None:
    """Whether the model of a run was taught to use a memory; None for a model that follows instructions."""
    taught = about.get("taught")
    # Searching is MEM1's loop whatever the memory.
    return None if taught is None else memory in taught and about["bench"] != "search"


def data_title(about: dict[str, Any], facts: bool = True) -> str:
    """The data in a few words; ``facts``: say how many a persona stream has."""
    data = about["data"]
    if "facts" in data:
        told = f"{data['facts']} facts, " if facts else ""
        return f"persona, {told}{data['people']} people"
    return f"{about['bench']}, {data.get('known') or data.get('file')}"


def _label(run: Described, group: list[Described]) -> str:
    """The model's name, with what tells the run from the others of the same model."""
    name, own = run["about"]["model"], _traits(run)
    others = [_traits(other) for other in group if other is not run and other["about"]["model"] == name]
    different = [trait for trait in own if any(other.get(trait) != own[trait] for other in others)]
    if others and not 1 <= len(different) <= 2:
        return f"{name} ({run['folder']})"
    return ", ".join([name, *(f"{trait.rpartition('.')[2]} {own[trait]}" for trait in different)])
