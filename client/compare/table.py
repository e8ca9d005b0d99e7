"""The findings on a terminal: figures down, films across, and what each film fails."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .findings import Cell, Findings

# Before a figure that fails: seen without colours, too.
FAILED = "✗"
PASSED = "✓"


def print_findings(findings: Findings, out: Console) -> None:
    """Prints notes, the table, and one line a film."""
    for note in findings.notes:
        out.print(note, style="dim", markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("", overflow="fold")
    table.add_column("allowed", style="dim", overflow="fold")
    for film in findings.films:
        table.add_column(escape(film.label), justify="right", overflow="fold")
    for row in findings.rows:
        table.add_row(row.title, row.allowed, *(_cell(each) for each in row.cells))
    out.print(table)
    for film in findings.films:
        if film.failures:
            out.print(f"[red]{FAILED} {escape(film.label)} fails:[/red] {escape('; '.join(film.failures))}")
        else:
            out.print(f"[green]{PASSED} {escape(film.label)} passes[/green]")


def _cell(cell: Cell) -> str:
    return f"[red]{FAILED} {escape(cell.said)}[/red]" if cell.failed else escape(cell.said)
