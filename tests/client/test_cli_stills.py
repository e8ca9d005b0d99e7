"""`warpaint keyframes` and `warpaint run --stills` as a user runs them: real commands, a real daemon, a real clip."""

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from support.clips import clip, frames
from support.daemon import Daemon
from warpaint.client import looking
from warpaint.client.keyframes import Choice, choose
from warpaint.client.run import Figures
from warpaint.engines.measures import detail_ratio, psnr

WARPAINT = Path(sys.executable).with_name("warpaint")
FINISHED_WITHIN_S = 60.0

# A shot of bikes.mp4, with cars that pass a fence: made smaller, as the commands run several times.
FIRST, COUNT = 137, 32
SIZE = (320, 136)

Picture = NDArray[np.uint8]


def command(*arguments: object, daemon: Daemon | None = None) -> "subprocess.CompletedProcess[str]":
    """A command of `warpaint` to its end."""
    address = () if daemon is None else ("--daemon", daemon.address)
    line = [str(WARPAINT), *map(str, arguments), *address]
    return subprocess.run(line, capture_output=True, text=True, timeout=FINISHED_WITHIN_S)


def done(*arguments: object, daemon: Daemon) -> str:
    """What a command says, which must succeed."""
    ended = command(*arguments, daemon=daemon)
    assert ended.returncode == 0, ended.stderr
    return f"{ended.stdout}\n{' '.join(ended.stderr.split())}"


def refused(*arguments: object, daemon: Daemon | None = None) -> str:
    """What a command says, which must fail in an orderly way."""
    ended = command(*arguments, daemon=daemon)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def by_hand(picture: Picture) -> Picture:
    """What stands here for an artist: smooth areas in colours of their own, edges drawn in ink."""
    smooth = cv2.edgePreservingFilter(picture, flags=cv2.RECURS_FILTER, sigma_s=40, sigma_r=0.5)
    warm = cv2.transform(smooth, np.array([[0.5, 0.2, 0], [0, 0.8, 0.2], [0, 0.1, 1.1]], np.float32))
    edges = cv2.Canny(cv2.cvtColor(smooth, cv2.COLOR_BGR2GRAY), 40, 120)
    warm[edges > 0] = (60, 20, 30)
    return np.asarray(warm, np.uint8)


def written(folder: Path) -> list[Picture]:
    return [read(file) for file in sorted(folder.iterdir())]


def read(file: Path) -> Picture:
    picture = cv2.imread(str(file))
    assert picture is not None
    return np.asarray(picture, np.uint8)


def repaint(folder: Path, paint: Callable[[Picture], Picture] = by_hand) -> list[int]:
    """Paints all pictures of a folder; the frames that they are of."""
    files = sorted(folder.iterdir())
    for file in files:
        assert cv2.imwrite(str(file), paint(read(file)))
    return [int(file.stem.removeprefix("frame_")) for file in files]


@pytest.fixture(scope="module")
def raw() -> list[Picture]:
    return list(frames("bikes", SIZE, start=FIRST, stop=FIRST + COUNT))


@pytest.fixture(scope="module")
def shot(raw: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shot as a folder of pictures, numbered from 1, so that nothing is lost on the way in and out."""
    folder = tmp_path_factory.mktemp("shot") / "frames"
    folder.mkdir()
    for number, picture in enumerate(raw, start=1):
        assert cv2.imwrite(str(folder / f"{number:06d}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def stills(shot: Path, tmp_path_factory: pytest.TempPathFactory, shared_daemon: Daemon) -> Path:
    """The keyframes of the shot, painted."""
    folder = tmp_path_factory.mktemp("stills") / "by hand"
    done("keyframes", shot, folder, daemon=shared_daemon)
    repaint(folder)
    return folder


def film_of(path: Path, pictures: Sequence[Picture], *, turned: bool = False) -> Path:
    """A lossless film of pictures; turned: tagged as one that is stored lying on its side."""
    plain = path.with_name(f"plain-{path.name}")
    height, width = pictures[0].shape[:2]
    with av.open(str(plain), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        out.mux(stream.encode(None))
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stored = source.streams.video[0]
        copy = target.add_stream_from_template(stored)
        if turned:
            copy.set_display_rotation(90)
        for packet in source.demux(stored):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    return path


# From a film to a painted one


def test_keyframes_are_written_by_their_frame_and_told(
    shot: Path, raw: list[Picture], tmp_path: Path, shared_daemon: Daemon
) -> None:
    said = done("keyframes", shot, tmp_path / "my stills", daemon=shared_daemon)
    files = sorted((tmp_path / "my stills").iterdir())
    indices = [int(file.stem.removeprefix("frame_")) for file in files]
    assert 1 <= len(files) < COUNT / 4
    assert COUNT / 4 < indices[0] < COUNT * 3 / 4  # a still is followed both ways
    for file, index in zip(files, indices, strict=True):
        assert file.name == f"frame_{index:06d}.png"
        np.testing.assert_array_equal(read(file), raw[index])
        assert f"{file.name}  at {index / 25:.2f} s" in said
    assert f"{len(files)} of {COUNT} frames are worth painting" in said
    assert re.search(r"They show [6-9][0-9] % of what is seen in the film", said)
    assert f"warpaint run {shot} OUT --stills '{tmp_path / 'my stills'}'" in said


def test_the_film_follows_the_stills(
    shot: Path, raw: list[Picture], stills: Path, tmp_path: Path, shared_daemon: Daemon
) -> None:
    said = done("run", shot, tmp_path / "out", "--stills", stills, daemon=shared_daemon)
    ours, alone = written(tmp_path / "out"), [by_hand(each) for each in raw]
    indices = [int(file.stem.removeprefix("frame_")) for file in stills.iterdir()]
    for index in indices:
        np.testing.assert_array_equal(ours[index], alone[index])
    assert f"keyframes {len(indices)}" in " ".join(said.split())
    assert "No still" not in said
    between = [index for index in range(COUNT) if index not in indices]
    followed, wanted, bare = ([film[index] for index in between] for film in (ours, alone, raw))
    # Edges that are drawn anew for each frame lie elsewhere in each: what is followed is their look.
    blurred = [[cv2.GaussianBlur(each, (0, 0), 4) for each in film] for film in (followed, wanted, bare)]
    assert psnr(blurred[0], blurred[1]) > psnr(blurred[2], blurred[1]) + 8
    assert 0.5 < detail_ratio(followed, wanted) < 1.1  # holes have no drawn edges


def test_other_stills_make_another_film(shot: Path, raw: list[Picture], tmp_path: Path, shared_daemon: Daemon) -> None:
    """Any frames, any number; what comes before the first follows it too."""
    (tmp_path / "stills").mkdir()
    for index in (3, 20):
        assert cv2.imwrite(str(tmp_path / "stills" / f"{index}.png"), 255 - raw[index])
    said = done("run", shot, tmp_path / "out", "--stills", tmp_path / "stills", daemon=shared_daemon)
    ours = written(tmp_path / "out")
    for index in (3, 20):
        np.testing.assert_array_equal(ours[index], 255 - raw[index])
    for index in (0, 2, 4, 19, 21, COUNT - 1):
        assert np.abs(ours[index].astype(int) - (255 - raw[index])).mean() < 12
    assert "no_still" not in said
    assert "No still" not in said


def test_frames_that_no_still_is_near_are_told(
    shot: Path, raw: list[Picture], tmp_path: Path, shared_daemon: Daemon
) -> None:
    """As they can wait no longer for one."""
    (tmp_path / "stills").mkdir()
    assert cv2.imwrite(str(tmp_path / "stills" / "20.png"), 255 - raw[20])
    flags = ("--stills", tmp_path / "stills", "--lookahead-s", 0.4, "--fade-s", 0)
    said = done("run", shot, tmp_path / "out", *flags, daemon=shared_daemon)
    ours = written(tmp_path / "out")
    np.testing.assert_array_equal(ours[9], raw[9])
    assert np.abs(ours[10].astype(int) - (255 - raw[10])).mean() < 12
    assert "No still was near enough to be followed by frames 0 to 9: there is the raw film" in said
    assert "no_still: a frame came without its still, and there was none before it" in said


def test_a_film_that_comes_back_to_a_shot_needs_no_still_there(
    raw: list[Picture], tmp_path: Path, shared_daemon: Daemon
) -> None:
    other = list(frames("carphone_pristine", SIZE, stop=8))
    source = film_of(tmp_path / "film.mkv", [*raw[:10], *other, *raw[10:18]])
    said = done("keyframes", source, tmp_path / "stills", daemon=shared_daemon)
    first, second = (int(file.stem.removeprefix("frame_")) for file in sorted((tmp_path / "stills").iterdir()))
    assert first < 10 <= second < 18
    assert "2 of 26 frames are worth painting" in said
    repaint(tmp_path / "stills", lambda picture: 255 - picture)
    flags = ("--stills", tmp_path / "stills", "--codec", "ffv1")
    assert "No still" not in done("run", source, tmp_path / "out.mkv", *flags, daemon=shared_daemon)


def test_the_more_stills_are_to_be_worth_the_fewer_there_are(shot: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    counts = []
    for worth_s in (0.05, 10):
        done("keyframes", shot, tmp_path / str(worth_s), "--worth-s", worth_s, daemon=shared_daemon)
        counts.append(len(list((tmp_path / str(worth_s)).iterdir())))
    assert counts[0] > 2
    assert counts[1] == 1


def test_a_shot_that_is_too_long_to_be_looked_at_at_once_goes_on(
    shot: Path, tmp_path: Path, shared_daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = Choice(shot, tmp_path / "whole", {}, daemon=shared_daemon.addresses[0], worth_s=1.0)
    done: list[int] = []
    selection, figures = choose(choice, say=print, progress=lambda figures: done.append(figures.frames))
    assert done == sorted(done)
    assert done[-1] == figures.frames == COUNT
    assert len(selection.frames) == 1
    monkeypatch.setattr(looking, "MOST_LOOKS", 3)
    in_parts, _ = choose(replace(choice, folder=tmp_path / "parts"), say=print, progress=lambda _: None)
    assert 1 <= len(in_parts.frames) <= 2
    assert in_parts.lasts_s == pytest.approx(selection.lasts_s) == pytest.approx(COUNT / 25)
    assert 0.5 < in_parts.share <= selection.share + 0.01


def test_a_shot_that_stands_still_needs_one_however_long_it_is(tmp_path: Path, shared_daemon: Daemon) -> None:
    [picture] = frames("bikes", (160, 64), start=FIRST, stop=FIRST + 1)
    source = film_of(tmp_path / "film.mkv", [picture] * 300)  # 12 s: frames wait for 10 s at most
    said = done("keyframes", source, tmp_path / "stills", daemon=shared_daemon)
    assert "1 of 300 frames are worth painting" in said
    assert "They show 3" in said or "They show 100 %" in said


def test_pictures_of_another_choice_are_told(shot: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    done("keyframes", shot, tmp_path / "stills", "--worth-s", 0.05, daemon=shared_daemon)
    before = {file.name for file in (tmp_path / "stills").iterdir()}
    said = done("keyframes", shot, tmp_path / "stills", "--force", daemon=shared_daemon)
    [chosen] = re.findall(r"(frame_[0-9]+\.png)  at", said)
    others = sorted(before - {chosen})
    assert f"holds other pictures of frames, which are stills, too: {', '.join(others[:6])}" in said


def test_what_was_chosen_until_ctrl_c_is_there(tmp_path: Path, shared_daemon: Daemon) -> None:
    other = list(frames("carphone_pristine", SIZE, stop=60))
    source = film_of(tmp_path / "film.mkv", [*frames("bikes", SIZE, start=FIRST, stop=FIRST + 10), *other])

    def interrupted(figures: Figures) -> None:
        if figures.frames > 15:
            raise KeyboardInterrupt

    choice = Choice(source, tmp_path / "stills", {}, daemon=shared_daemon.addresses[0])
    with pytest.raises(KeyboardInterrupt):
        choose(choice, say=print, progress=interrupted)
    [file] = (tmp_path / "stills").iterdir()
    assert int(file.stem.removeprefix("frame_")) < 10


def test_where_a_film_does_not_cut_is_taken_at_its_word(
    raw: list[Picture], tmp_path: Path, shared_daemon: Daemon
) -> None:
    other = list(frames("carphone_pristine", SIZE, stop=3))
    source = film_of(tmp_path / "film.mkv", [*raw[:10], *other])
    flags = ("--worth-s", 10, "--no-cut-detection")
    assert "1 of 13 frames" in done("keyframes", source, tmp_path / "stills", *flags, daemon=shared_daemon)


def test_a_film_with_an_extract_and_a_cut(raw: list[Picture], tmp_path: Path, shared_daemon: Daemon) -> None:
    """Indices are those of the whole film; a shot without a still has the colours of the last one."""
    other = list(frames("carphone_pristine", SIZE, stop=8))
    source = film_of(tmp_path / "film.mkv", [*raw[:10], *other])
    said = done("keyframes", source, tmp_path / "stills", "--start", 0.15, daemon=shared_daemon)
    first, second = sorted((tmp_path / "stills").iterdir())
    assert first.name in ("frame_000004.png", "frame_000008.png")  # there are no others between the looks
    index = int(second.stem.removeprefix("frame_"))
    assert 10 <= index < 18
    assert f"{second.name}  at {index / 25:.2f} s" in said
    assert "--start 0.15" in said
    second.unlink()
    repaint(tmp_path / "stills", lambda picture: 255 - picture)
    assert cv2.imwrite(str(tmp_path / "stills" / "frame_000001.png"), raw[1])
    flags = ("--stills", tmp_path / "stills", "--start", 0.15, "--codec", "ffv1")
    said = done("run", source, tmp_path / "out.mkv", *flags, daemon=shared_daemon)
    with av.open(str(tmp_path / "out.mkv")) as film:
        ours = [np.asarray(each.to_ndarray(format="bgr24"), np.uint8) for each in film.decode(video=0)]
    assert len(ours) == 14
    # Within what half the chroma leaves of sharp edges between colours.
    assert np.abs(ours[0].astype(int) - (255 - raw[4])).mean() < 5
    assert np.abs(ours[-1].astype(int) - (255 - other[-1])).mean() < 20
    assert "Stills outside the extract are left out: frame_000001.png." in said
    assert "No still was near enough to be followed by frames 10 to 17: there is the raw film, in the colours" in said


def test_a_film_that_lies_on_its_side_has_stills_that_stand(tmp_path: Path, shared_daemon: Daemon) -> None:
    across = np.zeros((48, 64, 3), np.uint8)
    across[:, :, 1] = np.linspace(0, 250, 64)  # from left to right, as stored
    source = film_of(tmp_path / "film.mkv", [across] * 3, turned=True)
    done("keyframes", source, tmp_path / "stills", daemon=shared_daemon)
    assert [each.shape for each in written(tmp_path / "stills")] == [(64, 48, 3)]

    def paint(picture: Picture) -> Picture:
        painted = picture.copy()
        painted[:16] = 240  # a light sky over it
        return painted

    repaint(tmp_path / "stills", paint)
    [still] = written(tmp_path / "stills")
    done("run", source, tmp_path / "out", "--stills", tmp_path / "stills", daemon=shared_daemon)
    for each in written(tmp_path / "out"):
        assert each.shape == (64, 48, 3)
        assert np.abs(each.astype(int) - still).mean() < 4


def test_another_size_is_scaled_and_told(shot: Path, stills: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    (tmp_path / "large").mkdir()
    for file in stills.iterdir():
        assert cv2.imwrite(str(tmp_path / "large" / file.name), cv2.resize(read(file), None, fx=2, fy=2))
    said = done("run", shot, tmp_path / "out", "--stills", tmp_path / "large", daemon=shared_daemon)
    [still] = stills.iterdir()
    assert f"Stills are scaled to 320x136: {still.name}" in said
    index = int(still.stem.removeprefix("frame_"))
    assert np.abs(written(tmp_path / "out")[index].astype(int) - read(still)).mean() < 8


def test_a_canvas_that_is_smaller_is_told(shot: Path, stills: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    flags = ("--stills", stills, "--max-pixels", 20_000)
    said = done("run", shot, tmp_path / "out", *flags, daemon=shared_daemon)
    assert "enlarged to 320x136, its stills too" in said


# What is wrong is told before anything is painted


def test_stills_that_cannot_be_used_are_named(shot: Path, stills: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    [still] = stills.iterdir()
    for name, picture in {
        "frame_000001.png": read(still),
        "frame_000500.png": read(still),
        "frame_000002.png": np.zeros((64, 64, 3), np.uint8),
    }.items():
        assert cv2.imwrite(str(wrong / name), picture)
    (wrong / "frame_000003.png").write_bytes(b"half of a pic")
    said = refused("run", shot, tmp_path / "out", "--stills", wrong)
    assert said.startswith(f"warpaint: {wrong} has stills that cannot be used: ")
    assert f"frame_000500.png: there is no frame 500: the film has {COUNT}, 0 to {COUNT - 1}" in said
    assert "frame_000002.png: it is 64x64, and the film 320x136" in said
    assert "frame_000003.png: is not a picture" in said
    assert "frame_000001.png" not in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--painter", "filters"), "--stills is for the painter 'stills'; 'filters' paints"),
        (("--flow", "none"), "--stills needs a flow"),
        (("--keyframes", "seldom"), "seldom"),
    ],
    ids=["painter", "flow", "keyframes"],
)
def test_flags_that_contradict_stills_are_told(
    shot: Path, stills: Path, tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    ended = command("run", shot, tmp_path / "out", "--stills", stills, *flags)
    assert ended.returncode in (1, 2)
    assert told in ended.stderr
    assert not (tmp_path / "out").exists()


def test_flags_may_say_more_than_stills_do(shot: Path, stills: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    flags = ("--stills", stills, "--painter", "stills", "--keyframes", "auto", "--keyframe-threshold", 0)
    said = done("run", shot, tmp_path / "out", *flags, "--end", 0.9, daemon=shared_daemon)
    assert "No still shows what begins at frame " in said


def test_the_stills_are_not_written_over(stills: Path, shot: Path) -> None:
    assert "is the folder of the stills" in refused("run", shot, stills, "--stills", stills)


def test_pictures_that_may_be_painted_are_kept(shot: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    folder = tmp_path / "stills"
    folder.mkdir()
    (folder / "frame_000000.png").write_bytes(b"hours of work")
    said = refused("keyframes", shot, folder, daemon=shared_daemon)
    assert "may be painted already: frame_000000.png" in said
    assert "--force" in said
    assert (folder / "frame_000000.png").read_bytes() == b"hours of work"
    done("keyframes", shot, folder, "--force", "--end", 0.1, daemon=shared_daemon)
    assert read(folder / "frame_000000.png").shape == (136, 320, 3)


def test_a_film_as_pictures_shows_stills_to_the_bit(raw: list[Picture], tmp_path: Path, shared_daemon: Daemon) -> None:
    """Though half the film's chroma is missing."""
    source, still = film_of(tmp_path / "film.mkv", raw[:4]), by_hand(raw[2])
    (tmp_path / "stills").mkdir()
    assert cv2.imwrite(str(tmp_path / "stills" / "2.png"), still)
    flags = ("--stills", tmp_path / "stills", "--sheet", tmp_path / "sheet.png")
    done("run", source, tmp_path / "out", *flags, daemon=shared_daemon)
    np.testing.assert_array_equal(written(tmp_path / "out")[2], still)
    assert read(tmp_path / "sheet.png").std() > 10


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("missing.mp4", "out"), "no such file"), (("SHOT", "SHOT/000001.png"), "cannot be made")],
    ids=["film", "folder"],
)
def test_what_keyframes_cannot_do_is_told(
    shot: Path, tmp_path: Path, shared_daemon: Daemon, arguments: tuple[str, str], told: str
) -> None:
    source, folder = (tmp_path / each.replace("SHOT", str(shot)) for each in arguments)
    assert told in refused("keyframes", source, folder, daemon=shared_daemon)


@pytest.mark.parametrize("worth_s", ["0", "-1", "inf", "nan"])
def test_stills_are_to_be_worth_something(shot: Path, tmp_path: Path, worth_s: str) -> None:
    said = refused("keyframes", shot, tmp_path / "new", f"--worth-s={worth_s}")
    assert f"a still is to be worth a number of seconds, more than 0, not {worth_s}" in said
    assert not (tmp_path / "new").exists()


def test_keyframes_need_a_flow(shot: Path, tmp_path: Path) -> None:
    assert "without a flow no frame is seen in another" in refused(
        "keyframes", shot, tmp_path / "new", "--flow", "none"
    )
    assert not (tmp_path / "new").exists()


def test_a_pipe_cannot_be_looked_at_twice(tmp_path: Path, stills: Path) -> None:
    """Its frames are counted before any is painted."""
    source = film_of(tmp_path / "film.mkv", list(frames("bikes", SIZE, start=FIRST, stop=FIRST + 4)))
    data = source.read_bytes()
    line = [str(WARPAINT), "run", "/dev/stdin", str(tmp_path / "out"), "--stills", str(stills)]
    ended = subprocess.run(line, input=data, capture_output=True, timeout=FINISHED_WITHIN_S)
    assert ended.returncode == 1, ended.stderr
    assert b"cannot be read twice" in ended.stderr


def test_the_clip_is_there() -> None:
    """Or these tests show nothing."""
    assert clip("bikes").is_file()
