"""What evaluations show, drawn: scores, costs, retention, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tmem.evaluation.reporting.svg import COLOURS, INK, MARKS, Figure, drawn
from tmem.evaluation.reporting.tables import explanation, marked, metric
from tmem.evaluation.stats import ORDER


def overview_figures(comparison: Mapping[str, Sequence[dict[str, Any]]]) -> list[Figure]:
    """Scores by memory and model, against their cost, along L_max and along the length of the stream.

    This and :func:`run_figures` raise :class:`UsageError` without matplotlib.
    """
    figures = []
    for group in comparison["models"]:
        if len(group["runs"]) > 1:
            figures += [_bars(group), _costs(group)]
    figures += [_along(lines, "tokens of the working context (L_max)") for lines in comparison["budget"]]
    figures += [_along(lines, "facts told in a stream") for lines in comparison["length"]]
    return figures


def run_figures(run: Mapping[str, Any], alone: Mapping[str, Any] | None) -> list[Figure]:
    """Retention by age and loss of each write; before them scores and costs, if the run is a group of its own."""
    figures = [] if alone is None else [_bars(alone), _costs(alone)]
    retained = {memory: own for memory, own in run["memories"].items() if own["retention"]}
    if retained:
        figures.append(_retention(retained, run["headline"][0]))
    losing = {memory: own for memory, own in run["memories"].items() if own["losses"]}
    if losing:
        figures.append(_losses(losing))
    return figures


def _look(memory: str) -> dict[str, Any]:
    """Colour and mark of a memory, the same in all figures."""
    place = ORDER.index(memory) if memory in ORDER else len(ORDER)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKS[place % len(MARKS)]}


def _names(points: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """How a figure names memories: with a mark where a model of their points was never taught to use them."""
    return {memory: marked(memory, *own) for memory, own in points.items()}


def _points(group: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The points of every memory, one for each run that has it."""
    runs = group["runs"]
    memories = dict.fromkeys(memory for run in runs for memory in run["memories"])
    return {memory: [run["memories"][memory] for run in runs if memory in run["memories"]] for memory in memories}


def _caption(text: str, names: Mapping[str, str]) -> str:
    """A caption that also says what the mark means, if a name has it."""
    return f"{text} {explanation(names.values())}".strip()


def _spread(points: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """How far each interval reaches below and above its mean, 0 where there is none."""
    known = [(p["mean"], *((p["mean"], p["mean"]) if p["low"] is None else (p["low"], p["high"]))) for p in points]
    return [[max(0.0, mean - low) for mean, low, _ in known], [max(0.0, high - mean) for mean, _, high in known]]


def _bars(group: Mapping[str, Any]) -> Figure:
    """Score of every memory, a bar per run."""
    runs, name, names = group["runs"], metric(group["measure"]), _names(_points(group))
    width = 0.8 / len(runs)

    def draw(axes: Any) -> None:
        for place, run in enumerate(runs):
            own = [(x, run["memories"][memory]) for x, memory in enumerate(names) if memory in run["memories"]]
            axes.bar(
                [x + (place + 0.5) * width - 0.4 for x, _ in own],
                [point["mean"] for _, point in own],
                width * 0.92,
                yerr=_spread([point for _, point in own]),
                color=COLOURS[1 + place % (len(COLOURS) - 1)],
                error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
                label=run["label"],
            )
        if group["constant"] is not None:
            axes.axhline(group["constant"]["mean"], color=INK, linewidth=1, linestyle=":", label="one answer to all")
        axes.set_xticks(range(len(names)), names.values(), rotation=30, ha="right", rotation_mode="anchor")
        axes.grid(axis="x", visible=False)
        axes.set_ylabel(name)

    caption = _caption(f"{group['title']}: {name} by memory and model, with 95 % intervals.", names)
    return drawn("scores", caption, draw, max(5.4, 0.22 * len(runs) * len(names) + 1))


def _costs(group: Mapping[str, Any]) -> Figure:
    """Score against all tokens per question, those of training too: a mark per memory and run."""
    name = metric(group["measure"])
    sizes = sorted({run["parameters"] or 0 for run in group["runs"]})
    names = _names(_points(group))

    def draw(axes: Any) -> None:
        for memory, label in names.items():
            own = [(run["memories"][memory], run) for run in group["runs"] if memory in run["memories"]]
            axes.scatter(
                [point["tokens_per_question"] + point["trained_per_question"] for point, _ in own],
                [point["mean"] for point, _ in own],
                s=[30 + 40 * sizes.index(run["parameters"] or 0) for _, run in own],
                alpha=0.85,
                linewidths=0,
                label=label,
                **_look(memory),
            )
        axes.set_xscale("log")
        axes.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("tokens per question, with building and training")
        axes.set_ylabel(name)

    larger = " A larger mark is a larger model." if len(sizes) > 1 else ""
    return drawn("cost", _caption(f"{group['title']}: {name} against cost.{larger}", names), draw)


def _along(lines: Mapping[str, Any], words: str) -> Figure:
    """Score of every memory along one setting."""
    name, names = metric(lines["measure"]), _names(lines["memories"])
    ticks = sorted({point["x"] for points in lines["memories"].values() for point in points})

    def draw(axes: Any) -> None:
        for memory, points in lines["memories"].items():
            _line(axes, [point["x"] for point in points], points, memory, names[memory])
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(words)
        axes.set_ylabel(name)

    return drawn("along", _caption(f"{lines['title']}: {name} by {words}, with 95 % intervals.", names), draw)


def _line(axes: Any, x: Sequence[Any], points: Sequence[Mapping[str, Any]], memory: str, label: str) -> None:
    means, (below, above) = [point["mean"] for point in points], _spread(points)
    axes.plot(x, means, label=label, **_look(memory))
    low = [mean - reach for mean, reach in zip(means, below, strict=True)]
    high = [mean + reach for mean, reach in zip(means, above, strict=True)]
    axes.fill_between(x, low, high, color=_look(memory)["color"], alpha=0.12, linewidth=0)


def _retention(memories: Mapping[str, Mapping[str, Any]], measure: str) -> Figure:
    name, names = metric(measure), _names({memory: [own] for memory, own in memories.items()})
    found = {row["age"] for own in memories.values() for row in own["retention"]}
    ages = sorted(found, key=lambda age: int(age.split("-")[0]))

    def draw(axes: Any) -> None:
        for memory, own in memories.items():
            rows = own["retention"]
            _line(axes, [ages.index(row["age"]) for row in rows], rows, memory, names[memory])
        axes.set_xticks(range(len(ages)), ages)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("sessions (or other units) read since the answer was told")
        axes.set_ylabel(name)

    caption = _caption(f"Retention: {name} by the age of what is asked for, with 95 % intervals.", names)
    return drawn("retention", caption, draw)


def _losses(memories: Mapping[str, Mapping[str, Any]]) -> Figure:
    names = _names({memory: [own] for memory, own in memories.items()})

    def draw(axes: Any) -> None:
        for memory, own in memories.items():
            rows, look = own["losses"], _look(memory)
            numbers = [row["write"] for row in rows]
            axes.plot(numbers, [row["first"] for row in rows], linestyle=":", **look)
            axes.plot(numbers, [row["last"] for row in rows], label=names[memory], **look)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("write of a stream")
        axes.set_ylabel("loss per token")

    caption = "Loss of the new pairs of each write: first epoch (dotted) and last epoch (solid)."
    return drawn("loss", _caption(caption, names), draw)
