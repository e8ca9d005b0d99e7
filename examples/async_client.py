"""The same as sync_client.py, for asyncio: a film as if from a camera, and a line a second.

python examples/async_client.py in.mp4 --look ink
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from warpaint.client.aio import AsyncClient, AsyncSession


async def camera(film: Any, rate: float) -> AsyncIterator[NDArray[np.uint8]]:
    """The frames of a film, uint8 [H, W, 3], BGR, each when it is due. Decoding is done beside the loop."""
    pictures, begun, number = film.decode(video=0), time.monotonic(), 0
    while (picture := await asyncio.to_thread(next, pictures, None)) is not None:
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        yield picture.to_ndarray(format="bgr24")
        number += 1


async def report(session: AsyncSession, delays_ms: list[float]) -> None:
    """Prints a line a second of what came in it."""
    while True:
        await asyncio.sleep(1)
        print_line(session, delays_ms)
        delays_ms.clear()


def print_line(session: AsyncSession, delays_ms: list[float]) -> None:
    """Frames in about a second, mean delay, and all that was dropped until now."""
    mean_ms = sum(delays_ms) / max(1, len(delays_ms))
    dropped = ", ".join(f"{count} {reason} ({stage})" for (stage, reason), count in session.dropped.items())
    print(f"{len(delays_ms)} frames/s, delay {mean_ms:.0f} ms, dropped: {dropped or 'none'}")


async def main() -> None:
    """Pushes and takes at the same time: `paint` has a task of its own that pushes."""
    parser = argparse.ArgumentParser(description="Paints a film as if it came from a camera.")
    parser.add_argument("film", type=Path)
    parser.add_argument("--pacing", choices=("every", "live"), default="live")
    parser.add_argument("--look", help="what to paint like [the painter's first look]")
    parser.add_argument("--daemon", metavar="ADDRESS", help="[the user's own daemon]")
    arguments = parser.parse_args()

    with av.open(arguments.film) as film:
        rate = float(film.streams.video[0].average_rate or 25)
        async with (
            AsyncClient(arguments.daemon) as client,
            client.session(pacing=arguments.pacing, rate=rate, look=arguments.look) as session,
        ):
            delays_ms: list[float] = []
            reporting = asyncio.create_task(report(session, delays_ms))
            async for painted in session.paint(camera(film, rate), rate=rate):
                delays_ms.append(painted.info.delay_ms)  # painted.image is the picture: here it would be shown
            reporting.cancel()
            print_line(session, delays_ms)


if __name__ == "__main__":
    asyncio.run(main())
