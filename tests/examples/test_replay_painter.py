"""The example painter that replays pictures from a folder, by itself and in a real daemon with real footage."""

import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from support import clips
from support.daemon import daemon, not_started
from warpaint.client import Client, PaintedImage
from warpaint.client.errors import FrameFailed
from warpaint.engines.base import Frame, PaintDone, Painter, PaintJob, Picture
from warpaint.engines.registry import load_painter
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code, RefusedError

EXAMPLES = Path(__file__).parents[2] / "examples"
WARPAINT = Path(sys.executable).with_name("warpaint")
NAME = "replay_painter:ReplayPainter"
SIZE = (60, 44)
CANVAS = (64, 48)
FINISHED_WITHIN_S = 60.0


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("REPLAY_FOLDER", "REPLAY_FIRST"):
        monkeypatch.delenv(name, raising=False)


def write(folder: Path, name: str, picture: Picture) -> None:
    folder.mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / name), picture)


def picture(seed: int, size: tuple[int, int] = SIZE) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of the frames 0 to 2, and of whatever is shown at 5.48 s."""
    made = tmp_path / "frames"
    for number in range(3):
        write(made, f"frame_{number + 1:06d}.png", picture(number))
    write(made, "5480ms.png", picture(99))
    (made / "notes.txt").write_text("no picture")
    monkeypatch.setenv("REPLAY_FOLDER", str(made))
    return made


def job(index: int, *, pts: Fraction | None = None, crop: tuple[int, int, int, int] | None = None) -> PaintJob:
    """A keyframe, or the crop x, y, w, h of it."""
    x, y, w, h = crop or (0, 0, *CANVAS)
    raw = np.zeros((h, w, 3), np.uint8)
    frame = Frame(index, Fraction(index, 25) if pts is None else pts, raw)
    holes = None if crop is None else np.ones((h, w), np.bool_)
    return PaintJob(7, 1, frame, Brief(), 0, (x, y), CANVAS, None if crop is None else raw, holes)


def done(painter: Painter, asked: PaintJob) -> PaintDone:
    [given] = painter.paint([asked], lambda: False)
    assert (given.id, given.epoch) == (asked.id, asked.epoch)
    return given


def on_canvas(content: Picture) -> Picture:
    right, below = CANVAS[0] - SIZE[0], CANVAS[1] - SIZE[1]
    return np.pad(content, ((0, below), (0, right), (0, 0)), mode="edge")


@pytest.mark.usefixtures("folder")
def test_a_keyframe_is_the_picture_of_its_index_or_of_its_time() -> None:
    painter = load_painter(NAME)
    for index in range(3):
        np.testing.assert_array_equal(done(painter, job(index)).image, on_canvas(picture(index)))
    np.testing.assert_array_equal(done(painter, job(2, pts=Fraction(137, 25))).image, on_canvas(picture(99)))


@pytest.mark.usefixtures("folder")
def test_a_crop_around_holes_is_that_part_of_the_picture() -> None:
    expected = on_canvas(picture(1))[16:40, 24:64]
    np.testing.assert_array_equal(done(load_painter(NAME), job(1, crop=(24, 16, 40, 24))).image, expected)


@pytest.mark.usefixtures("folder")
def test_the_number_of_the_first_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLAY_FIRST", "2")
    np.testing.assert_array_equal(done(load_painter(NAME), job(1)).image, on_canvas(picture(2)))


@pytest.mark.usefixtures("folder")
def test_it_comes_back_when_nobody_waits() -> None:
    given = load_painter(NAME).paint([job(0), job(1)], lambda: True)
    assert [each.error for each in given] == [Code.CANCELLED] * 2


def test_what_it_cannot_paint_it_says(folder: Path) -> None:
    write(folder, "frame_000005.png", picture(4, (128, 96)))
    (folder / "frame_000006.png").write_bytes(b"no picture")
    painter = load_painter(NAME)
    for index, why in ((3, "no picture of frame 3, at 120 ms"), (4, "128x96, and .* at 64x48"), (5, "cannot be read")):
        given = done(painter, job(index))
        assert given.error is Code.PAINTER_FAILED
        assert given.image is None
        with pytest.raises(ValueError, match=why):
            raise ValueError(given.why)


def test_a_folder_that_is_of_no_use_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusedError, match="REPLAY_FOLDER must name the folder"):
        load_painter(NAME)
    monkeypatch.setenv("REPLAY_FOLDER", str(tmp_path))
    with pytest.raises(RefusedError, match="holds no pictures"):
        load_painter(NAME)
    code, said = not_started(tmp_path, "--painters", NAME, env=environment(tmp_path / "nowhere"))
    assert code != 0
    assert "cannot be loaded: FileNotFoundError" in said


# In a daemon


def environment(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(EXAMPLES), "REPLAY_FOLDER": str(folder)}


def test_real_footage_in_a_real_daemon(tmp_path: Path) -> None:
    """Keyframes are the pictures to the bit, and holes are cut out of their frames' pictures; a missing one is told."""
    raw = list(clips.frames("bikes", (324, 138), stop=9))  # the canvas is larger
    for number, frame in enumerate(raw[:8], start=1):
        write(tmp_path / "frames", f"{number:04d}.png", 255 - frame)
    with (
        daemon(tmp_path, "--painters", NAME, env=environment(tmp_path / "frames")) as running,
        Client(running.address) as client,
        client.session(look="replay") as session,
    ):
        shown: list[PaintedImage] = []
        with pytest.raises(FrameFailed, match="no picture of frame 8, at 320 ms"):
            shown.extend(session.paint(raw, keyframes={8}))
    assert shown[0].info.keyframe
    np.testing.assert_array_equal(shown[0].image, 255 - raw[0])
    assert any(each.info.painted_pixels for each in shown if not each.info.keyframe)
    assert furthest([each.image for each in shown], raw[:8]) < 6


def test_a_film_follows_pictures_that_are_named_by_time(tmp_path: Path) -> None:
    raw = list(clips.frames("bikes", stop=10))
    for number, frame in enumerate(raw):
        write(tmp_path / "frames", f"{40 * number}ms.png", 255 - frame)
    target = tmp_path / "out.mkv"
    with daemon(tmp_path, "--painters", NAME, env=environment(tmp_path / "frames")) as running:
        line = [WARPAINT, "run", clips.clip("bikes"), target, "--end", 0.4, "--codec", "ffv1"]
        flags = ("--daemon", running.address)
        subprocess.run([*map(str, line), *flags], check=True, capture_output=True, timeout=FINISHED_WITHIN_S)
    with av.open(str(target)) as film:
        shown = [np.asarray(each.to_ndarray(format="bgr24"), np.uint8) for each in film.decode(video=0)]
    assert furthest(shown, raw) < 8


def furthest(shown: Sequence[Picture], raw: Sequence[Picture]) -> float:
    """How far the farthest frame is from the negative of its raw one, levels."""
    assert len(shown) == len(raw)
    return max(float(np.abs(255 - a.astype(int) - b).mean()) for a, b in zip(shown, raw, strict=True))
