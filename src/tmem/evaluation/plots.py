"""A report's figures as SVG to be put into the page: text stays text, and ink has the page's colour, light or dark."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tmem.errors import UsageError
from tmem.evaluation.tables import amount, metric
from tmem.seeds import derive

INK = "#010203"  # stands for the page's text colour
# Between light and dark, so that they stand out from either background; marks tell them apart without colour.
COLOURS = ("#3b82c4", "#e07b39", "#2e9e6b", "#c05299", "#8a6fd1", "#a88b1f", "#d14d4d", "#3fa3ad")
MARKS = "osD^vPX*"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tmem",
    "font.size": 10,
    "text.parse_math": False,  # a name may have dollar signs
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.markersize": 5,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}


@dataclass(frozen=True)
class Figure:
    """A drawing with the words below it."""

    caption: str
    svg: str


def overview_figures(across: Mapping[str, Sequence[dict[str, Any]]]) -> list[Figure]:
    """Scores by memory and model, against their cost, along L_max and along the length of the stream.

    This and :func:`run_figures` raise :class:`UsageError` without matplotlib.
    """
    figures = []
    for group in across["models"]:
        figures += [_bars(group), _costs(group)]
    figures += [_along(lines, "tokens of the working context (L_max)") for lines in across["budget"]]
    figures += [_along(lines, "facts told in a stream") for lines in across["length"]]
    return figures


def run_figures(run: Mapping[str, Any]) -> list[Figure]:
    """Retention by age and loss of each write, for the memories that have them."""
    figures = []
    retained = {memory: own["retention"] for memory, own in run["memories"].items() if own["retention"]}
    if retained:
        figures.append(_retention(retained, run["headline"][0]))
    losses = {memory: own["losses"] for memory, own in run["memories"].items() if own["losses"]}
    if losses:
        figures.append(_losses(losses))
    return figures


def _figure(caption: str, draw: Callable[[Any], None], width: float = 5.4) -> Figure:
    """What ``draw`` does to a pair of axes, with a legend below; ``width`` in inches."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise UsageError("figures need the extra eval: pip install 'tmem[eval]'") from None
    data = io.StringIO()
    with rc_context(STYLE), warnings.catch_warnings():
        # Letters that matplotlib's font lacks are no fault: the text stays text, and the browser has fonts.
        warnings.filterwarnings("ignore", message="Glyph")
        canvas = Canvas(figsize=(width, 3.6), layout="constrained")
        axes = canvas.add_subplot()
        draw(axes)
        handles, labels = axes.get_legend_handles_labels()
        if len(labels) > 1:
            columns = max(1, int(width * 12 / max(map(len, labels), default=1)) // 2)
            canvas.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))
        canvas.savefig(data, format="svg", transparent=True, metadata={"Date": None})
    return Figure(caption, _for_page(data.getvalue(), caption, round(width * 96)))


def _for_page(svg: str, caption: str, width: int) -> str:
    """An SVG file as an element among others: ids of its own, no style that reaches beyond it, the page's ink."""
    svg = svg[svg.index("<svg") :].strip().replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    own = f"f{derive(caption, svg) % 10**8}-"
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{own}", svg)
    size = re.search(r'viewBox="[^"]*"', svg)
    assert size is not None
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size.group()} role="img" '
        f'aria-label="{html.escape(caption)}" style="max-width: {width}px; min-width: {width * 2 // 3}px">'
    )
    return start + svg[svg.index(">") + 1 :]


def _look(place: int) -> dict[str, Any]:
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKS[place % len(MARKS)]}


def _spread(points: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """How far each interval reaches below and above its mean, 0 where there is none."""
    known = [(p["mean"], *((p["mean"], p["mean"]) if p["low"] is None else (p["low"], p["high"]))) for p in points]
    return [[max(0.0, mean - low) for mean, low, _ in known], [max(0.0, high - mean) for mean, _, high in known]]


def _bars(group: Mapping[str, Any]) -> Figure:
    """Score of every memory, a bar per run."""
    runs, name = group["runs"], metric(group["measure"])
    memories = list(dict.fromkeys(memory for run in runs for memory in run["memories"]))
    width = 0.8 / len(runs)

    def draw(axes: Any) -> None:
        for place, run in enumerate(runs):
            own = [(x, run["memories"][memory]) for x, memory in enumerate(memories) if memory in run["memories"]]
            axes.bar(
                [x + (place + 0.5) * width - 0.4 for x, _ in own],
                [point["mean"] for _, point in own],
                width * 0.92,
                yerr=_spread([point for _, point in own]),
                color=_look(place)["color"],
                error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
                label=run["label"],
            )
        if group["constant"] is not None:
            axes.axhline(group["constant"]["mean"], color=INK, linewidth=1, linestyle=":", label="a constant answer")
        axes.set_xticks(range(len(memories)), memories, rotation=30, ha="right", rotation_mode="anchor")
        axes.grid(axis="x", visible=False)
        axes.set_ylabel(name)

    caption = f"{name} by memory and model, with 95 % intervals. {group['title']}."
    return _figure(caption, draw, max(5.4, 0.22 * len(runs) * len(memories) + 1))


def _costs(group: Mapping[str, Any]) -> Figure:
    """Score against all tokens per question: a mark per memory and run."""
    name = metric(group["measure"])
    sizes = sorted({run["parameters"] or 0 for run in group["runs"]})
    memories = list(dict.fromkeys(memory for run in group["runs"] for memory in run["memories"]))

    def draw(axes: Any) -> None:
        for place, memory in enumerate(memories):
            own = [(run["memories"][memory], run) for run in group["runs"] if memory in run["memories"]]
            axes.scatter(
                [point["tokens_per_question"] for point, _ in own],
                [point["mean"] for point, _ in own],
                s=[30 + 40 * sizes.index(run["parameters"] or 0) for _, run in own],
                alpha=0.85,
                linewidths=0,
                label=memory,
                **_look(place),
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: amount(value))
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("tokens per question, with building the memory")
        axes.set_ylabel(name)

    larger = " A larger mark is a larger model." if len(sizes) > 1 else ""
    return _figure(f"{name} against cost.{larger} {group['title']}.", draw)


def _along(lines: Mapping[str, Any], words: str) -> Figure:
    """Score of every memory along one setting."""
    name = metric(lines["measure"])
    ticks = sorted({point["x"] for points in lines["memories"].values() for point in points})

    def draw(axes: Any) -> None:
        for place, (memory, points) in enumerate(lines["memories"].items()):
            _line(axes, [point["x"] for point in points], points, memory, place)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(words)
        axes.set_ylabel(name)

    return _figure(f"{name} by {words}, with 95 % intervals. {lines['title']}.", draw)


def _line(axes: Any, x: Sequence[Any], points: Sequence[Mapping[str, Any]], label: str, place: int) -> None:
    means, (below, above) = [point["mean"] for point in points], _spread(points)
    axes.plot(x, means, label=label, **_look(place))
    low = [mean - reach for mean, reach in zip(means, below, strict=True)]
    high = [mean + reach for mean, reach in zip(means, above, strict=True)]
    axes.fill_between(x, low, high, color=_look(place)["color"], alpha=0.12, linewidth=0)


def _retention(memories: Mapping[str, Sequence[Mapping[str, Any]]], measure: str) -> Figure:
    name = metric(measure)
    ages = sorted({row["age"] for rows in memories.values() for row in rows}, key=lambda age: int(age.split("-")[0]))

    def draw(axes: Any) -> None:
        for place, (memory, rows) in enumerate(memories.items()):
            _line(axes, [ages.index(row["age"]) for row in rows], rows, memory, place)
        axes.set_xticks(range(len(ages)), ages)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("sessions (or other units) read since the answer was told")
        axes.set_ylabel(name)

    return _figure(f"Retention: {name} by the age of what is asked for, with 95 % intervals.", draw)


def _losses(memories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    def draw(axes: Any) -> None:
        for place, (memory, rows) in enumerate(memories.items()):
            numbers, look = [row["write"] for row in rows], _look(place)
            axes.plot(numbers, [row["first"] for row in rows], linestyle=":", **look)
            axes.plot(numbers, [row["last"] for row in rows], label=memory, **look)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("write of a stream")
        axes.set_ylabel("loss per token")

    return _figure("Loss of the new pairs of each write: first epoch (dotted) and last epoch (solid).", draw)
