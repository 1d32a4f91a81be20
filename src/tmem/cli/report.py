"""``tmem eval report``: what recorded evaluations say, as tables, JSON or a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tmem.cli.common import print_json
from tmem.evaluation.reporting.report import make_report, write_figures, write_page
from tmem.evaluation.reporting.tables import Section, overview, run_section


def report(folders: Sequence[Path], html: Path | None, figures: Path | None, as_json: bool, out: Console) -> None:
    """Report on all runs in these folders; ``html`` is the file to write the page to, ``figures`` a folder."""
    found = make_report(folders)
    if html is not None:
        write_page(found, html)
    drawn = [] if figures is None else write_figures(found, figures)
    if as_json:
        print_json(found)
        return
    show(overview(found["across"]), out)
    for run in found["runs"]:
        show(run_section(run), out)
    if html is not None:
        out.print(f"page: {escape(str(html))}", highlight=False)
    if drawn:
        out.print(f"figures: {escape(', '.join(map(str, drawn)))}", highlight=False)


def show(section: Section, out: Console) -> None:
    """A section as text and tables; nothing of an empty one."""
    if not section.facts and not section.tables:
        return
    out.rule(f"[bold]{escape(section.title)}")
    for name, value in section.facts:
        out.print(f"[dim]{escape(name)}[/dim] {escape(value)}", highlight=False)
    if section.command:
        out.print(f"[dim]again[/dim] {escape(section.command)}", highlight=False)
    for remark in section.remarks:
        out.print(f"[yellow]{escape(remark)}[/yellow]", highlight=False)
    for table in section.tables:
        out.print(f"\n[bold]{escape(table.title)}", highlight=False)
        grid = Table()
        for place, column in enumerate(table.columns):
            grid.add_column(escape(column), justify="right" if place else "left")
        for row in table.rows:
            grid.add_row(*map(escape, row))
        out.print(grid)
        if table.note:
            out.print(f"[dim]{escape(table.note)}[/dim]", highlight=False)
