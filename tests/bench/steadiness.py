"""How steady the film is beside one painted frame by frame, by a flow that did not make it."""

import tempfile
from pathlib import Path

from rich.table import Table

from bench.films import painted_film
from warpaint.engines.measures import detail_ratio, excess_steadiness, flows_of, mean_warped_error

CLIPS = {("bigbuckbunny", (768, 432)): 10.0, ("bikes", (640, 272)): 4.0}


def run() -> Table:
    """Excess flicker over the raw film, frame by frame over ours; and the detail that is kept."""
    columns = ("clip", "E raw", "E frame by frame", "E ours", "steadier by", "aim", "detail", "aim")
    table = Table(*columns, title="Steadiness: `strokes`, a new seed each painting, against each frame painted alone")
    with tempfile.TemporaryDirectory() as folder:
        for (name, size), aim in CLIPS.items():
            ours = painted_film(Path(folder), name, size, vary_seed=True)
            alone = painted_film(Path(folder), name, size, flow="none", vary_seed=True)
            flows = flows_of(ours.raw)
            errors = [mean_warped_error(film, flows) for film in (ours.raw, alone.painted, ours.painted)]
            steadier = excess_steadiness(ours.raw, ours.painted, alone.painted, flows)
            detail = detail_ratio(ours.painted, alone.painted)
            row = [f"{error:.1f}" for error in errors]
            table.add_row(name, *row, f"{steadier:.1f}", f"{aim:.0f}", f"{detail:.3f}", "0.95 to 1.05")
    return table
