"""A report as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tmem.errors import UsageError
from tmem.evaluation.reporting.svg import Figure
from tmem.evaluation.reporting.tables import Section
from tmem.files import write_text


def write(path: Path, title: str, introduction: str, parts: Sequence[tuple[Section, Sequence[Figure]]]) -> None:
    """Write sections with their figures.

    Raises :class:`UsageError` without the extra ``eval`` and :class:`DataError` if the file cannot be written.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise UsageError("the HTML report needs the extra eval: pip install 'tmem[eval]'") from None
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # questions and names may hold markup
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(title=title, introduction=introduction, parts=parts)
    write_text(path, page)
