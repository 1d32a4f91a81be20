"""A figure as SVG to be put into a page: text stays text, and ink has the page's colour, light or dark."""

from __future__ import annotations

import html
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmem.errors import UsageError
from tmem.files import check_folder, write_text

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


def drawn(name: str, caption: str, draw: Callable[[Any], None], width: float = 5.4) -> Figure:
    """What ``draw`` does to a pair of axes, with a legend below; ``width`` in inches.

    Raises :class:`UsageError` without matplotlib.
    """
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


def save(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Write figures as SVG files, ``1-scores.svg`` and so on. Raises :class:`DataError` if that fails."""
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}-{figure.name}.svg" for number, figure in enumerate(figures, start=1)]
    for path, figure in zip(paths, figures, strict=True):
        write_text(path, figure.file())
    return paths
