"""A report's figures as SVG to be put into the page: text stays text, and ink has the page's colour, light or dark."""

from __future__ import annotations

import html
import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tmem.errors import UsageError
from tmem.evaluation.stats import ORDER
from tmem.evaluation.tables import metric

INK = "#010203"  # stands for the page's text colour
# Between light and dark, so that they stand out from either background; marks tell them apart without colour.
COLOURS = (
    *("#7d8794", "#3b82c4", "#e07b39", "#2e9e6b", "#c05299", "#a88b1f"),
    *("#8a6fd1", "#d14d4d", "#3fa3ad", "#a0694b", "#6f8f2f", "#e0709a"),
)
MARKS = "osD^vPX"
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
    """A drawing with the words below it; ``name`` is what it shows in a word, ``width`` is in pixels."""

    name: str
    caption: str
    svg: str
    width: int

    def element(self, own: str) -> str:
        """The drawing to put into a page; its ids begin with ``own``, since a page has no id twice."""
        return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{own}-", self.svg)

    def file(self) -> str:
        """The drawing as an SVG file of its own, dark on white."""
        look = f'width="{self.width}" style="color:#1c1d1f;background:#fff"'
        return self.svg.replace("<svg ", f"<svg {look} ", 1) + "\n"


def overview_figures(across: Mapping[str, Sequence[dict[str, Any]]]) -> list[Figure]:
    """Scores by memory and model, against their cost, along L_max and along the length of the stream.

    This and :func:`run_figures` raise :class:`UsageError` without matplotlib.
    """
    figures = []
    for group in across["models"]:
        if len(group["runs"]) > 1:
            figures += [_bars(group), _costs(group)]
    figures += [_along(lines, "tokens of the working context (L_max)") for lines in across["budget"]]
    figures += [_along(lines, "facts told in a stream") for lines in across["length"]]
    return figures


def run_figures(run: Mapping[str, Any], alone: Mapping[str, Any] | None) -> list[Figure]:
    """Retention by age and loss of each write; before them scores and costs, if the run is a group of its own."""
    figures = [] if alone is None else [_bars(alone), _costs(alone)]
    retained = {memory: own["retention"] for memory, own in run["memories"].items() if own["retention"]}
    if retained:
        figures.append(_retention(retained, run["headline"][0]))
    losses = {memory: own["losses"] for memory, own in run["memories"].items() if own["losses"]}
    if losses:
        figures.append(_losses(losses))
    return figures


def _figure(name: str, caption: str, draw: Callable[[Any], None], width: float = 5.4) -> Figure:
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
        canvas = Canvas(layout="constrained")
        axes = canvas.add_subplot()
        draw(axes)
        handles, labels = axes.get_legend_handles_labels()
        columns = max(1, int(width * 12 / (6 + max(map(len, labels)))))  # some twelve letters an inch, six for a mark
        canvas.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))
        canvas.set_size_inches(width, 3.2 + 0.22 * math.ceil(len(labels) / columns))
        canvas.savefig(data, format="svg", transparent=True, metadata={"Date": None})
    return Figure(name, caption, _for_page(data.getvalue(), caption), round(width * 96))


def _for_page(svg: str, caption: str) -> str:
    """An SVG file as an element of a page: without a size and a style of its own, in the page's ink."""
    start, body = svg[svg.index("<svg") :].strip().replace(INK, "currentColor").split(">", maxsplit=1)
    start = re.sub(r'\s(width|height)="[^"]*"', "", start)
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    return f'{start} role="img" aria-label="{html.escape(caption)}">{body}'


def _look(memory: str) -> dict[str, Any]:
    """Colour and mark of a memory, the same in all figures."""
    place = ORDER.index(memory) if memory in ORDER else len(ORDER)
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
                color=COLOURS[1 + place % (len(COLOURS) - 1)],
                error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
                label=run["label"],
            )
        if group["constant"] is not None:
            axes.axhline(group["constant"]["mean"], color=INK, linewidth=1, linestyle=":", label="one answer to all")
        axes.set_xticks(range(len(memories)), memories, rotation=30, ha="right", rotation_mode="anchor")
        axes.grid(axis="x", visible=False)
        axes.set_ylabel(name)

    caption = f"{group['title']}: {name} by memory and model, with 95 % intervals."
    return _figure("scores", caption, draw, max(5.4, 0.22 * len(runs) * len(memories) + 1))


def _costs(group: Mapping[str, Any]) -> Figure:
    """Score against all tokens per question: a mark per memory and run."""
    name = metric(group["measure"])
    sizes = sorted({run["parameters"] or 0 for run in group["runs"]})
    memories = list(dict.fromkeys(memory for run in group["runs"] for memory in run["memories"]))

    def draw(axes: Any) -> None:
        for memory in memories:
            own = [(run["memories"][memory], run) for run in group["runs"] if memory in run["memories"]]
            axes.scatter(
                [point["tokens_per_question"] for point, _ in own],
                [point["mean"] for point, _ in own],
                s=[30 + 40 * sizes.index(run["parameters"] or 0) for _, run in own],
                alpha=0.85,
                linewidths=0,
                label=memory,
                **_look(memory),
            )
        axes.set_xscale("log")
        axes.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("tokens per question, with building the memory")
        axes.set_ylabel(name)

    larger = " A larger mark is a larger model." if len(sizes) > 1 else ""
    return _figure("cost", f"{group['title']}: {name} against cost.{larger}", draw)


def _along(lines: Mapping[str, Any], words: str) -> Figure:
    """Score of every memory along one setting."""
    name = metric(lines["measure"])
    ticks = sorted({point["x"] for points in lines["memories"].values() for point in points})

    def draw(axes: Any) -> None:
        for memory, points in lines["memories"].items():
            _line(axes, [point["x"] for point in points], points, memory)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(words)
        axes.set_ylabel(name)

    return _figure("along", f"{lines['title']}: {name} by {words}, with 95 % intervals.", draw)


def _line(axes: Any, x: Sequence[Any], points: Sequence[Mapping[str, Any]], memory: str) -> None:
    means, (below, above) = [point["mean"] for point in points], _spread(points)
    axes.plot(x, means, label=memory, **_look(memory))
    low = [mean - reach for mean, reach in zip(means, below, strict=True)]
    high = [mean + reach for mean, reach in zip(means, above, strict=True)]
    axes.fill_between(x, low, high, color=_look(memory)["color"], alpha=0.12, linewidth=0)


def _retention(memories: Mapping[str, Sequence[Mapping[str, Any]]], measure: str) -> Figure:
    name = metric(measure)
    ages = sorted({row["age"] for rows in memories.values() for row in rows}, key=lambda age: int(age.split("-")[0]))

    def draw(axes: Any) -> None:
        for memory, rows in memories.items():
            _line(axes, [ages.index(row["age"]) for row in rows], rows, memory)
        axes.set_xticks(range(len(ages)), ages)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("sessions (or other units) read since the answer was told")
        axes.set_ylabel(name)

    return _figure("retention", f"Retention: {name} by the age of what is asked for, with 95 % intervals.", draw)


def _losses(memories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    def draw(axes: Any) -> None:
        for memory, rows in memories.items():
            numbers, look = [row["write"] for row in rows], _look(memory)
            axes.plot(numbers, [row["first"] for row in rows], linestyle=":", **look)
            axes.plot(numbers, [row["last"] for row in rows], label=memory, **look)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("write of a stream")
        axes.set_ylabel("loss per token")

    return _figure("loss", "Loss of the new pairs of each write: first epoch (dotted) and last epoch (solid).", draw)
