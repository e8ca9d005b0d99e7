"""Paints a film as if it came from a camera, and prints a line a second: frames a second, delay, frames dropped.

python examples/sync_client.py in.mp4 --look ink
"""

import argparse
import time
from pathlib import Path

import av

from warpaint.client import Client, PaintedImage, Session


class Report:
    """What came in the last second."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._since = time.monotonic()
        self._delays_ms: list[float] = []

    def take(self, painted: PaintedImage) -> None:
        """Counts a frame. `painted.image` is an array, uint8 [H, W, 3], BGR: here it would be shown."""
        self._delays_ms.append(painted.info.delay_ms)
        if time.monotonic() - self._since >= 1:
            self.print()

    def print(self) -> None:
        """The line, and a new beginning."""
        seconds = max(time.monotonic() - self._since, 1e-3)
        delay_ms = sum(self._delays_ms) / max(1, len(self._delays_ms))
        dropped = ", ".join(f"{count} {reason} ({stage})" for (stage, reason), count in self._session.dropped.items())
        print(f"{len(self._delays_ms) / seconds:.1f} frames/s, delay {delay_ms:.0f} ms, dropped: {dropped or 'none'}")
        self._since, self._delays_ms = time.monotonic(), []


def main() -> None:
    """Reads the film at its own speed, pushes each frame when it is due, and takes what is painted in between."""
    parser = argparse.ArgumentParser(description="Paints a film as if it came from a camera.")
    parser.add_argument("film", type=Path)
    parser.add_argument("--pacing", choices=("every", "live"), default="live")
    parser.add_argument("--look", help="what to paint like [the painter's first look]")
    parser.add_argument("--daemon", metavar="ADDRESS", help="[the user's own daemon]")
    arguments = parser.parse_args()

    with av.open(arguments.film) as film, Client(arguments.daemon) as client:
        rate = float(film.streams.video[0].average_rate or 25)
        # The session opens with the first frame, which tells its size. A daemon that is too busy for a live film of
        # this rate refuses it then, with a RefusedError that says what would fit.
        with client.session(pacing=arguments.pacing, rate=rate, look=arguments.look) as session:
            report = Report(session)
            begun = time.monotonic()
            for number, picture in enumerate(film.decode(video=0)):
                due = begun + number / rate
                while (left_s := due - time.monotonic()) > 0:
                    client.wait(timeout_s=left_s)  # returns as soon as something comes
                    for painted in session.results(wait=False):
                        report.take(painted)
                # In pacing `live` this returns at once; a frame that is not taken is told in session.drops.
                session.push(picture.to_ndarray(format="bgr24"), round(1000 * number / rate))
            for painted in session.results():  # what is still on its way
                report.take(painted)
            report.print()


if __name__ == "__main__":
    main()
