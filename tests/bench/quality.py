"""The judge's table: what the daemon paints at its defaults, what people have without it, and ways to cheat."""

import tempfile
from pathlib import Path

from rich.console import Group
from rich.table import Table

from support.cheats import painted_films, studio
from support.clips import frames
from warpaint.engines.measures import GATES, Verdict

# Size, what `ours` is to be steadier by than alone at one frame, and the share of the area that it may paint at most.
CLIPS: dict[str, tuple[tuple[int, int], float | None, float | None]] = {
    "bigbuckbunny": ((768, 432), 20.0, 0.06),
    "bikes": ((640, 272), 7.0, 0.25),
    "carphone_pristine": ((176, 144), None, None),
}
FAILED = "✗"


def run() -> Group:
    """One table a clip: figures down, films across."""
    tables = []
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder)) as client:
        for name, (size, steadier, area) in CLIPS.items():
            films = painted_films(client, list(frames(name, size)), fixed=True)
            tables.append(_table(name, films.verdicts(), steadier, area))
    return Group(*tables)


def _table(clip: str, verdicts: dict[str, Verdict], steadier: float | None, area: float | None) -> Table:
    first = next(iter(verdicts.values()))
    table = Table(
        title=f"{clip}: `strokes`, a new seed each painting", box=None, padding=(0, 1, 0, 0), title_justify="left"
    )
    for head in ("", "aim", "allowed"):
        table.add_column(head, no_wrap=True)
    for name in verdicts:
        table.add_column(name, justify="right")
    aims = {"steady_1": steadier, "painted_share": area}
    for gate in GATES:
        aim = aims.get(gate.figure)
        cells = [_cell(verdict, gate.figure) for verdict in verdicts.values()]
        table.add_row(gate.title, gate.said(aim) if aim else "", gate.allowed(first.figures), *cells)
    table.add_row("gates failed", "0", "", *(str(len(verdict.failures)) for verdict in verdicts.values()))
    return table


def _cell(verdict: Verdict, figure: str) -> str:
    gate = next(each for each in GATES if each.figure == figure)
    value = getattr(verdict.figures, figure)
    if value is None:
        return "-"
    sign = f"{FAILED} " if any(each is gate for each, _ in verdict.failed()) else ""
    return sign + gate.said(value).removesuffix(gate.unit)
