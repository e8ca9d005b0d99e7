"""Whether live films come in time: what is delivered, how late, how evenly, beside others, and after an update.

Raw pictures over ipc, 768x512, from cameras in processes of their own. The film is shown over and
over, and so jumps back every 4.4 s.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
from rich.table import Table

from bench.camera import SIZE, TICKS_A_SECOND, Footage, Take, film, filmed
from support.daemon import Daemon, Wire, daemon
from warpaint.client.painting import Client
from warpaint.proto.errors import Code, RefusedError
from warpaint.proto.messages import Ack, FrameIn, Source

RATE = 30.0  # frames a second
ALONE_S = 60.0  # long enough for the 99th percentile to be that of 18 frames
SEVERAL, SEVERAL_RATE, SEVERAL_S = 4, 15.0, 25.0
BESIDE_RATE, BESIDE_S = 15.0, 15.0  # two of them fit on two cores
LENIENT_DELAY_MS = 1_000.0  # as `max_delay_ms`, where what is asked is not whether a session is admitted
LEAST_PIXELS = 4_096  # where looking for a canvas on which all fit ends
READS_ONE_OF = 10  # the slow reader: of its frames
BUSY = "painters_under_test:BusyInPython"  # 2 s a picture
# Updates of the Brief: when, seconds into the take, so that each painting is over before the next is asked for.
UPDATES_S = {"strokes": (3.0, 6.0, 9.0, 12.0, 15.0, 18.0), BUSY: (4.0, 11.0, 18.0, 25.0)}
AFTER_LAST_S = 4.0
KEYFRAMES = 3  # that the painter's own time is taken of

# Aims.
DELIVERED, P99_GAP_MS, P99_DELAY_MS, FAIR, CLIENT_CPU_MS = 0.99, 2e3 / RATE, 100.0, 0.98, 5.0

Row = tuple[str, str, str]  # what, figure, aim


def run() -> Table:
    """Each measurement with its aim, and how busy the machine was just before."""
    table = Table("", "figure", "aim", title=f"Live: {SIZE[0]}x{SIZE[1]}, raw over ipc, `dis`")
    with tempfile.TemporaryDirectory() as folder:
        for title, measured in MEASUREMENTS.items():
            load = f"load average {os.getloadavg()[0]:.1f}"
            table.add_row(f"[bold]{title}", load, "")
            for row in measured(Path(folder)):
                table.add_row(*row)
            table.add_section()
    return table


def _alone(folder: Path, *flags: str) -> list[Row]:
    with daemon(folder, "--log-level", "warning", *flags) as running:
        process = psutil.Process(running.process.pid)
        before = _cpu_s(process)
        [footage] = filmed([Take(running.address, film(folder), ALONE_S, RATE)])
        spent = {name: seconds - before[name] for name, seconds in _cpu_s(process).items()}
    frames = len(footage.pushed_at)
    daemons = ", ".join(f"{name} {1e3 * seconds / frames:.1f}" for name, seconds in spent.items())
    rows = [*_admitted(footage), *_in_time(footage)]
    rows += [
        ("dropped", _named(footage.dropped), ""),
        ("seen", _shares(Counter(info.provenance for _, info in footage.results)), ""),
        ("mean of each stage, ms", ", ".join(f"{name} {ms:.1f}" for name, ms in footage.stages_ms().items()), ""),
        ("camera, CPU ms a frame", f"{footage.cpu_ms:.1f}", f"< {CLIENT_CPU_MS:g}"),
        ("daemon, CPU ms a frame", daemons, ""),
    ]
    return rows


def _alone_beside_a_busy_painter(folder: Path) -> list[Row]:
    return _alone(folder, "--painters", BUSY)


def _several(folder: Path, *, announced: bool) -> list[Row]:
    with daemon(folder, "--log-level", "warning") as running:
        limits = {"max_pixels": _what_fits(running.address)} if announced else {"max_delay_ms": LENIENT_DELAY_MS}
        take = Take(running.address, film(folder), SEVERAL_S, SEVERAL_RATE, announced, **limits)
        footages = filmed([take] * SEVERAL)
    counts = np.array([len(each.results) for each in footages])
    jain = counts.sum() ** 2 / (len(counts) * (counts**2).sum())
    delays = [delay for each in footages for delay in each.delays_ms]
    return [
        ("canvas", " and ".join(sorted({f"{w}x{h}" for w, h in filter(None, (each.canvas for each in footages))})), ""),
        *_admitted(*footages),
        ("delivered, each", ", ".join(f"{100 * each.delivered:.1f} %" for each in footages), _share(DELIVERED)),
        ("Jain's index of what was delivered", f"{jain:.4f}", f">= {FAIR}"),
        ("delay p50, p95, p99, ms", _percentiles(delays), f"p99 < {P99_DELAY_MS:g}"),
        (
            "cameras themselves late p50, p95, p99, ms",
            _percentiles([ms for each in footages for ms in each.late_ms]),
            "",
        ),
        ("dropped", _named(sum((each.dropped for each in footages), Counter())), ""),
    ]


def _what_fits(address: str) -> int:
    """The largest canvas, pixels, on which the daemon admits all the sessions at their rate, to a fifth."""
    source, pixels = Source(width=SIZE[0], height=SIZE[1], rate=SEVERAL_RATE), SIZE[0] * SIZE[1]
    while pixels > LEAST_PIXELS:
        with Client(address) as client, ExitStack() as held:
            try:
                for _ in range(SEVERAL):
                    held.enter_context(client.session(pacing="live", source=source, max_pixels=pixels))
                return pixels
            except RefusedError as error:
                if error.code is not Code.OVERLOADED:
                    raise
        pixels = int(0.8 * pixels)
    return pixels


def _beside_a_slow_reader(folder: Path) -> list[Row]:
    """One camera alone, beside another one, and beside one that reads slowly: the same film, the same daemon."""
    with daemon(folder, "--log-level", "warning") as running:
        take = Take(
            running.address, film(folder), BESIDE_S, BESIDE_RATE, announced=False, max_delay_ms=LENIENT_DELAY_MS
        )
        [alone] = filmed([take])
        beside_good, _ = filmed([take, take])
        slow = multiprocessing.get_context("spawn").Process(target=_read_slowly, args=(take,), daemon=True)
        slow.start()
        [beside_slow] = filmed([take])
        slow.join()
    if slow.exitcode != 0:
        raise RuntimeError("the slow reader failed; it has said why on stderr")
    rows = [*_in_time(alone, ", alone", gap_aim=False)]
    for name, other in (("a good reader", beside_good), ("a slow one", beside_slow)):
        p99 = [_ratio(getattr(other, kind), getattr(alone, kind)) for kind in ("delays_ms", "gaps_ms")]
        share = other.delivered / alone.delivered
        rows.append(
            (f"beside {name} to alone: delivered, p99 delay, gap", f"{share:.3f}, {p99[0]}, {p99[1]}", "1, 1, 1")
        )
    return rows


def _read_slowly(take: Take) -> None:
    """Sends by the clock, whatever the credit, and takes and acknowledges one answer for ten frames."""
    pictures = np.load(take.film, mmap_mode="r")
    with Wire(take.address) as wire:
        wire.open(Source(width=SIZE[0], height=SIZE[1]), pacing="live", max_delay_ms=LENIENT_DELAY_MS)
        began = time.monotonic()
        for number in range(round(take.seconds * take.rate)):
            time.sleep(max(0.0, began + number / take.rate - time.monotonic()))
            pts = round(number * TICKS_A_SECOND / take.rate)
            wire.send(FrameIn(session=0, index=number, pts=pts), pictures[number % len(pictures)].data)
            if number % READS_ONE_OF == READS_ONE_OF - 1 and (seq := getattr(wire.receive().message, "seq", None)):
                wire.send(Ack(session=0, seq=seq))


def _updates(folder: Path, painter: str) -> list[Row]:
    """A new seed is another painting that costs the same: so the painter's own time is that of any keyframe."""
    times = UPDATES_S[painter]
    flags = ("--painters", painter) if painter == BUSY else ()
    with daemon(folder, "--log-level", "warning", *flags) as running:
        own_ms = _keyframe_ms(running, folder)
        changes = [(at_s, {"seed": number + 1}) for number, at_s in enumerate(times)]
        [footage] = filmed([Take(running.address, film(folder), times[-1] + AFTER_LAST_S, RATE, changes=changes)])
    came = {info.index: at for at, info in footage.results}
    taken = [1e3 * (came[each.shown_at] - each.asked_at) for each in footage.changes if each.shown_at in came]
    unseen = len(times) - len(taken)
    return [
        ("update to the first frame that shows it, median, ms", f"{statistics.median(taken):.0f}", ""),
        ("each", ", ".join(f"{ms:.0f}" for ms in taken) + (f", {unseen} never" if unseen else ""), ""),
        ("the painter's own time of a keyframe, ms", f"{own_ms:.0f}", ""),
        ("ratio", f"{statistics.median(taken) / own_ms:.2f}", ""),
    ]


def _keyframe_ms(running: Daemon, folder: Path) -> float:
    """The painter's mean time of a keyframe with nothing beside it, as the daemon counts it."""
    pictures = np.load(film(folder), mmap_mode="r")
    with Client(running.address) as client:
        with client.session(keyframe_gap_min_s=0.0) as session:
            for number in range(KEYFRAMES):
                session.push(pictures[number], number * TICKS_A_SECOND)
                session.rekey()
            session.flush()
        return next(each.mean_ms for each in client.status().engines if each.kind == "painter" and each.calls)


MEASUREMENTS: dict[str, Callable[[Path], Sequence[Row]]] = {
    f"`strokes`, {RATE:g} a second": _alone,
    f"a painter that is busy in Python for 2 s, {RATE:g} a second": _alone_beside_a_busy_painter,
    f"{SEVERAL} sessions, {SEVERAL_RATE:g} a second each, the canvas that fits": lambda f: _several(f, announced=True),
    f"{SEVERAL} sessions, {SEVERAL_RATE:g} a second each, the whole canvas": lambda f: _several(f, announced=False),
    f"two sessions, {BESIDE_RATE:g} a second each, one reads a tenth": _beside_a_slow_reader,
    "updates, `strokes`": lambda folder: _updates(folder, "strokes"),
    "updates, a painter that is busy in Python for 2 s": lambda folder: _updates(folder, BUSY),
}


# Figures


def _in_time(footage: Footage, which: str = "", *, gap_aim: bool = True) -> list[Row]:
    gap = f"p99 < {P99_GAP_MS:.1f}" if gap_aim else ""
    return [
        (f"delivered{which}", f"{100 * footage.delivered:.1f} %", _share(DELIVERED)),
        (f"delay{which}, p50, p95, p99, ms", _percentiles(footage.delays_ms), f"p99 < {P99_DELAY_MS:g}"),
        (f"gap at the client{which}, p50, p95, p99, ms", _percentiles(footage.gaps_ms), gap),
        (f"camera itself late{which}, p50, p95, p99, ms", _percentiles(footage.late_ms), ""),
    ]


def _admitted(*footages: Footage) -> list[Row]:
    """Whether the daemon took the sessions as asked; those that it did not take at their rate were opened without."""
    refused = [each.refused for each in footages if each.refused]
    if not refused:
        return [("admitted", "yes", "yes")]
    without = sum(each.canvas is None for each in footages)
    text = f"{len(refused)} of {len(footages)} refused, {without} of them also without a rate: {refused[0]}"
    return [("admitted", text, "yes")]


def _percentiles(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in np.percentile(values, [50, 95, 99]))


def _ratio(these: Sequence[float], those: Sequence[float]) -> str:
    return f"{np.percentile(these, 99) / np.percentile(those, 99):.2f}"


def _share(least: float) -> str:
    return f">= {100 * least:g} %"


def _shares(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {100 * count / counts.total():.1f} %" for name, count in counts.most_common())


def _named(dropped: Counter[tuple[str, Code]]) -> str:
    return ", ".join(f"{count} {reason} at {stage}" for (stage, reason), count in dropped.most_common()) or "none"


def _cpu_s(daemons: psutil.Process) -> dict[str, float]:
    """Seconds of processor time so far, by what spent them: the gateway is the daemon's first thread."""
    spent = dict.fromkeys(("gateway", "ZeroMQ", "driver and OpenCV", "painters"), 0.0)
    for thread in daemons.threads():
        name = Path(f"/proc/{daemons.pid}/task/{thread.id}/comm").read_text()
        part = "gateway" if thread.id == daemons.pid else "ZeroMQ" if name.startswith("ZMQ") else "driver and OpenCV"
        spent[part] += thread.user_time + thread.system_time
    times = [child.cpu_times() for child in daemons.children()]
    spent["painters"] = sum(each.user + each.system for each in times)
    return spent
