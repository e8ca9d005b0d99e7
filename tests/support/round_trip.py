"""From OBS through a bridge and back into the same OBS, and what is seen of it there.

The program shows a film of stamps at the left, and at the right, by a Media Source, what the bridge makes of the
program: of that the left half, which is the film, painted. So one picture of the program has the number that is drawn
now, and the one that has come back. It all runs in a network of its own, as a script that `filmed` starts.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from . import stamps
from .bridge import Programs, free_port
from .obs import COMES_WITHIN_S, ENDS_WITHIN_S, RATE, SIZE, Obs, obs_studio
from .offline import loopback_up, offline

HALF = SIZE[0] // 2
NEGATIVE = "painters_under_test:Negative"
# A busy machine drops frames, and refuses no session; the picture is still large enough to read it.
EASY = ("--painter", NEGATIVE, "--max-pixels", "65536", "--max-delay-ms", "5000")
LOOK_S = 0.1
# When the same picture is seen for so many looks, nothing more comes.
STILL_LOOKS = 5
FILM_SIZE, FILM_S = (HALF // 2, SIZE[1] // 2), stamps.AROUND / RATE

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Take:
    """What was seen of one way, and what OBS and the bridge say of it."""

    way: str
    drawn: list[int]  # the film's numbers in pictures of the program
    came_back: list[int]  # the painted ones in the same pictures
    frames: int  # that went out, as OBS says
    skipped: int  # by OBS
    code: int  # of the bridge
    said: str  # by the bridge

    @property
    def delays(self) -> list[int]:
        """Of each picture, how many frames ago the painted one was drawn."""
        return [stamps.passed(back, drawn) for drawn, back in zip(self.drawn, self.came_back, strict=True)]


@dataclass(frozen=True)
class Way:
    """How OBS sends. url: where the bridge reads."""

    url: str
    start: Callable[[Obs, int], None]  # with the port
    stop: Callable[[Obs], tuple[int, int]]


WAYS = {
    "rtmp": Way(
        "rtmp://127.0.0.1:{}/live/key",
        lambda obs, port: obs.stream(f"rtmp://127.0.0.1:{port}/live", "key"),
        Obs.stop_streaming,
    ),
    "udp": Way(
        "udp://127.0.0.1:{}",
        lambda obs, port: obs.record(f"udp://127.0.0.1:{port}?pkt_size=1316"),
        Obs.stop_recording,
    ),
    "zmq": Way(
        "zmq:tcp://127.0.0.1:{}",
        lambda obs, port: obs.record(f"zmq:tcp://127.0.0.1:{port}"),
        Obs.stop_recording,
    ),
}


def filmed(folder: Path, address: str, ways: Sequence[str], looks: int) -> list[Take]:
    """Each way in turn, with one OBS, until so many painted pictures were seen. Raises RuntimeError with what was said.

    folder: WAY.png will be the last of these pictures.
    """
    command = [*offline(), sys.executable, "-m", __name__, str(folder), address, str(looks), *ways]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    said = folder / "round-trip.log"
    with said.open("w") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            out, _ = process.communicate()
        finally:
            process.terminate()
            process.wait(ENDS_WITHIN_S)
    if process.returncode:
        raise RuntimeError(f"no round trip: {said.read_text()}")
    return [Take(**take) for take in json.loads(out)]


def main() -> None:
    """Prints the takes."""
    folder, address, looks, *ways = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    loopback_up()
    programs = Programs("ffmpeg", address, Path(folder))
    film = stamps.film(Path(folder) / "film.mp4", size=FILM_SIZE, rate=RATE, seconds=FILM_S)
    try:
        with obs_studio(Path(folder)) as obs:
            obs.add_film("film", film, left=0, width=HALF)
            obs.add_painted("painted", "tcp://127.0.0.1:9", left=HALF, width=HALF)
            takes = [_taken(obs, programs, way, int(looks)) for way in ways]
    finally:
        programs.end_all()
    sys.stdout.write(json.dumps([asdict(take) for take in takes]))


def _taken(obs: Obs, programs: Programs, way: str, looks: int) -> Take:
    port, out = free_port(), free_port()
    how = WAYS[way]
    bridge = programs.standing(how.url.format(port), f"tcp://127.0.0.1:{out}?listen=1", *EASY)
    how.start(obs, port)
    obs.read_from("painted", f"tcp://127.0.0.1:{out}")
    drawn, came_back = _looked(obs, looks, programs.folder / f"{way}.png")
    frames, skipped = how.stop(obs)
    _until_still(obs)
    return Take(way, drawn, came_back, frames, skipped, *bridge.stop())


def _looked(obs: Obs, looks: int, keep: Path) -> tuple[list[int], list[int]]:
    drawn: list[int] = []
    came_back: list[int] = []
    deadline = time.monotonic() + COMES_WITHIN_S + looks * LOOK_S
    before = stamps.seen(obs.picture()[:, HALF:])  # what another bridge has left there
    while len(drawn) < looks:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(drawn)} painted pictures have come back")
        picture = obs.picture()
        left, right = stamps.seen(picture[:, :HALF]), stamps.seen(picture[:, HALF:])
        if left and right and right.negative and right != before:
            before = right
            drawn.append(left.number)
            came_back.append(right.number)
            cv2.imwrite(str(keep), picture)
        time.sleep(LOOK_S)
    return drawn, came_back


def _until_still(obs: Obs) -> None:
    """Waits until nothing more comes back: what is on its way when a bridge ends would be neither sent nor dropped."""
    same, before = 0, None
    while same < STILL_LOOKS:
        time.sleep(LOOK_S)
        right = stamps.seen(obs.picture()[:, HALF:])
        same = same + 1 if right == before else 0
        before = right


if __name__ == "__main__":
    main()
