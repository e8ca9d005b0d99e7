"""What a frame costs, by stage, and how much of it the painter paints."""

import tempfile
from pathlib import Path

from rich.table import Table

from bench.films import PaintedFilm, painted_film

CLIPS = {
    ("bigbuckbunny", (768, 512)): 0.20,
    ("bigbuckbunny", (1280, 720)): 0.20,
    ("bikes", (640, 272)): 0.30,
}
WIRE, OWN = ("decode", "canvas", "encode"), ("encode_features", "match", "compose")


def run() -> Table:
    """Milliseconds a frame by stage, the painter's time apart; painted area against its aim."""
    times = ("wire", "features", "match", "compose", "all but painter", "painter")
    title = "Session: `strokes` and `dis` at their defaults, ms a frame"
    table = Table("clip", *times, "keyframes", "painted", "aim", title=title)
    with tempfile.TemporaryDirectory() as folder:
        for (name, size), aim in CLIPS.items():
            film = painted_film(Path(folder), name, size)
            table.add_row(f"{name} {size[0]}x{size[1]}", *_cells(film), f"{100 * aim:.0f} %")
    return table


def _cells(film: PaintedFilm) -> list[str]:
    times = [film.stage_ms(WIRE), *(film.stage_ms([stage]) for stage in OWN)]
    times += [film.stage_ms([*WIRE, *OWN]), film.stage_ms(["paint"])]
    counts = [f"{film.totals.keyframes} of {film.totals.painted}", f"{100 * film.painted_share:.1f} %"]
    return [f"{ms:.1f}" for ms in times] + counts
