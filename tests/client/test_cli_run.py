"""`warpaint run` as a user runs it: the command in a process of its own, a real daemon, real films."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from support.daemon import Daemon, daemon
from warpaint.client.painting import Client

WARPAINT = Path(sys.executable).with_name("warpaint")
FINISHED_WITHIN_S = 60.0
# A process that was told to end, or whose other half is gone, has ended within this.
GONE_WITHIN_S = 20.0
# The client asks after two seconds of silence, and gives up ten seconds later.
DAEMON_MISSED_WITHIN_S = 15.0

LOSSLESS = ("-c:v", "ffv1")
# Colours that BGR reaches, too: at the edges of a film with half its chroma there are others.
MUTED = "lutyuv=y=maxval/4+val/2:u=maxval*3/8+val/4:v=maxval*3/8+val/4"
IDENTITY = ("--painter", "identity", "--flow", "none")
POSTER = ("--look", "poster")
FIRST_MAPS = ("flow.npy", "flow.png", "confidence.png", "hops.png", "holes.png")

Make = Callable[..., Path]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="wp") as folder:
        yield Path(folder)


@pytest.fixture
def environment(short_folder: Path) -> dict[str, str]:
    """The environment of a user who runs no daemon."""
    return os.environ | {"XDG_RUNTIME_DIR": str(short_folder), "TMPDIR": str(short_folder), "PYTHONFAULTHANDLER": "1"}


@pytest.fixture
def make(ffmpeg: str, tmp_path: Path) -> Make:
    """Makes a film from what ffmpeg is told; its path."""

    def made(name: str, *arguments: object) -> Path:
        command = [ffmpeg, "-y", "-v", "error", "-nostdin", *map(str, arguments), str(tmp_path / name)]
        subprocess.run(command, check=True, timeout=FINISHED_WITHIN_S)
        return tmp_path / name

    return made


@pytest.fixture
def clip(make: Make) -> Path:
    """Ten frames, 25 a second."""
    return make("clip.mkv", *pattern(), "-vf", "format=yuv420p", *LOSSLESS)


def pattern(size: str = "64x48", *, frames: int = 10, source: str = "testsrc2") -> tuple[object, ...]:
    # The input has an end of its own: beside subtitles ffmpeg 5 goes on for ever after the last frame of -frames:v.
    return ("-f", "lavfi", "-t", frames / 25, "-i", f"{source}=s={size}:r=25", "-frames:v", frames)


def run(*arguments: object, **options: object) -> "subprocess.CompletedProcess[str]":
    """`warpaint run` to its end."""
    command = [str(WARPAINT), "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=FINISHED_WITHIN_S, **options)  # type: ignore[call-overload]


def painted(*arguments: object, daemon: Daemon) -> str:
    """What `warpaint run` says, which must succeed."""
    done = run(*arguments, "--daemon", daemon.address)
    assert done.returncode == 0, done.stderr
    return flat(done.stderr)


def refused(*arguments: object, code: int = 1, **options: object) -> str:
    """What `warpaint run` says, which must fail in an orderly way."""
    done = run(*arguments, **options)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return flat(done.stderr)


def flat(text: str) -> str:
    """Text in one line, wherever it was broken."""
    return " ".join(text.split())


def shown(path: Path) -> list[Fraction]:
    """When the frames are shown, seconds, in order; each of them can be decoded."""
    with av.open(str(path)) as container:
        frames = [(frame.pts, frame.time_base) for frame in container.decode(video=0)]
    return [pts * base for pts, base in frames if pts is not None and base is not None]


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time and bytes of the packets of the streams of this kind."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        found = [each for each in container.demux(*streams) if each.size and streams]
        return [((each.pts or 0) * each.time_base, bytes(each)) for each in found]


def stored(ffmpeg: str, path: Path, pixels: str, dtype: type = np.uint8) -> NDArray[np.int64]:
    """All samples of a film as they are stored, by ffmpeg, which knows nothing of our reader."""
    command = [ffmpeg, "-v", "error", "-noautorotate", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
    data = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", pixels, "-"], check=True, capture_output=True)
    return np.frombuffer(data.stdout, dtype).astype(np.int64)


def until(condition: Callable[[], bool], within_s: float = FINISHED_WITHIN_S) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Running:
    """A `warpaint run` under way that writes maps, from which one can see how far it is."""

    def __init__(self, source: Path, target: Path, maps: Path, *flags: str, **options: object) -> None:
        command = [str(WARPAINT), "run", str(source), str(target), "--maps", str(maps), *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
        self._maps = maps

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def until_frame(self, number: int) -> None:
        """Waits until this frame is written."""
        until(lambda: self.process.poll() is not None or (self._maps / f"{number:06d}-holes.png").exists())
        assert self.process.poll() is None, "it ended too early"

    def own_daemon(self) -> int:
        """The process id of the daemon that it says it has started."""
        found = re.search(r"process (\d+)", self.process.stderr.readline())
        assert found
        return int(found[1])

    def end(self, within_s: float = GONE_WITHIN_S) -> tuple[int, str]:
        """Exit code, and what it said."""
        _, said = self.process.communicate(timeout=within_s)
        return self.process.returncode, flat(said)


# Every frame


def test_keeps_times_sound_and_subtitles(make: Make, tmp_path: Path, shared_daemon: Daemon) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nWarp what you can\n")
    source = make(
        *("source.mp4", "-i", tmp_path / "s.srt", "-f", "lavfi", "-i", "sine=d=1.2", *pattern(frames=30)),
        *("-map", 0, "-map", 1, "-map", 2, "-c:v", "libx264", "-bf", 2, "-c:a", "aac", "-c:s", "mov_text"),
    )
    target = tmp_path / "painted.mp4"
    said = painted(source, target, *POSTER, daemon=shared_daemon)
    assert shown(target) == shown(source) == [Fraction(number, 25) for number in range(30)]
    assert packets(target, "audio") == packets(source, "audio") != []
    assert packets(target, "subtitle") == packets(source, "subtitle") != []
    assert "frames 30" in said


def test_keeps_a_variable_rate(make: Make, tmp_path: Path, shared_daemon: Daemon) -> None:
    source = make("source.mkv", *pattern(), "-vf", "setpts=N*N", "-fps_mode", "passthrough", "-enc_time_base", "1:1000")
    target = tmp_path / "painted.mkv"
    painted(source, target, *POSTER, daemon=shared_daemon)
    assert shown(target) == [Fraction(number * number, 25) for number in range(10)]


def test_paints(ffmpeg: str, clip: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    target = tmp_path / "painted.mkv"
    painted(clip, target, *POSTER, "--codec", "ffv1", daemon=shared_daemon)
    assert np.abs(stored(ffmpeg, target, "yuv420p") - stored(ffmpeg, clip, "yuv420p")).mean() > 3


def test_an_extract(ffmpeg: str, make: Make, tmp_path: Path, shared_daemon: Daemon) -> None:
    source = make("source.mkv", *pattern(frames=40, source="mandelbrot"), "-vf", f"format=yuv420p,{MUTED}", *LOSSLESS)
    target = tmp_path / "painted.mkv"
    painted(
        source, target, "--start", 0.5, "--end", 1.0, *IDENTITY, "--codec", "ffv1", daemon=shared_daemon
    )  # frame 13 is shown at 0.52 s, frame 25 at 1 s
    assert shown(target) == [Fraction(number, 25) for number in range(12)]
    before = stored(ffmpeg, source, "yuv420p").reshape(40, -1)[13:25]
    assert np.abs(stored(ffmpeg, target, "yuv420p").reshape(12, -1) - before).max() <= 1


def test_an_extract_begins_at_the_frame_whose_time_is_given(
    ffmpeg: str, make: Make, tmp_path: Path, shared_daemon: Daemon
) -> None:
    """As text: a float of 5.48 lies behind frame 137, and would begin with the next one."""
    source = make("source.mkv", *pattern(frames=142), "-vf", f"format=yuv420p,{MUTED}", *LOSSLESS)
    target = tmp_path / "painted.mkv"
    flags = ("--start", "5.48", "--end", "5.6", *IDENTITY, "--codec", "ffv1")
    painted(source, target, *flags, daemon=shared_daemon)
    before = stored(ffmpeg, source, "yuv420p").reshape(142, -1)[137:140]
    assert np.abs(stored(ffmpeg, target, "yuv420p").reshape(3, -1) - before).max() <= 1


def test_codec_and_crf(clip: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    fine, coarse = tmp_path / "fine.webm", tmp_path / "coarse.webm"
    painted(clip, fine, *POSTER, "--codec", "vp9", "--crf", 10, daemon=shared_daemon)
    painted(clip, coarse, *POSTER, "--codec", "vp9", "--crf", 63, daemon=shared_daemon)
    with av.open(str(fine)) as container:
        assert container.streams.video[0].codec_context.name == "vp9"
    assert coarse.stat().st_size < fine.stat().st_size / 2


def test_a_film_of_one_frame(make: Make, tmp_path: Path, shared_daemon: Daemon) -> None:
    source, target = make("source.mp4", *pattern(frames=1), "-c:v", "libx264"), tmp_path / "painted.mp4"
    painted(source, target, *POSTER, daemon=shared_daemon)
    assert shown(target) == [0]


# Pictures


def test_pictures_keep_their_names_and_order(tmp_path: Path, shared_daemon: Daemon) -> None:
    pictures = {f"img{number}": np.full((31, 17, 3), number, np.uint8) for number in (2, 10, 30)}
    source, target, film = tmp_path / "in", tmp_path / "out", tmp_path / "film.mkv"
    source.mkdir()
    for name, picture in pictures.items():
        cv2.imwrite(str(source / f"{name}.png"), picture)
    painted(source, target, *IDENTITY, daemon=shared_daemon)
    assert sorted(path.name for path in target.iterdir()) == sorted(f"{name}.png" for name in pictures)
    for name, picture in pictures.items():
        np.testing.assert_array_equal(cv2.imread(str(target / f"{name}.png")), picture)
    painted(source, film, *IDENTITY, "--rate", 10, "--codec", "ffv1", daemon=shared_daemon)
    assert shown(film) == [0, Fraction(1, 10), Fraction(2, 10)]
    with av.open(str(film)) as container:
        levels = [int(frame.to_ndarray(format="bgr24").mean()) for frame in container.decode(video=0)]
    assert levels == [2, 10, 30]


def test_a_film_becomes_numbered_pictures(clip: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    painted(clip, tmp_path / "out", *POSTER, daemon=shared_daemon)
    files = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in files] == [f"{number:06d}.png" for number in range(1, 11)]
    assert {cv2.imread(str(path)).shape for path in files} == {(48, 64, 3)}


# Besides the film


def test_compare_shows_raw_and_painted_side_by_side(
    ffmpeg: str, clip: Path, tmp_path: Path, shared_daemon: Daemon
) -> None:
    target = tmp_path / "both.mkv"
    painted(clip, target, *POSTER, "--compare", "--codec", "ffv1", daemon=shared_daemon)
    both = stored(ffmpeg, target, "gray").reshape(10, 48, 128)
    raw = stored(ffmpeg, clip, "gray").reshape(10, 48, 64)
    np.testing.assert_array_equal(both[..., :64], raw)
    assert np.abs(both[..., 64:] - raw).mean() > 3


def test_maps_and_a_contact_sheet(clip: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    maps, sheet = tmp_path / "new" / "maps", tmp_path / "sheet.png"
    painted(
        clip, tmp_path / "out.mp4", *POSTER, "--max-pixels", 768, "--maps", maps, "--sheet", sheet, daemon=shared_daemon
    )
    assert {path.name for path in maps.iterdir()} == {f"{n:06d}-{kind}" for n in range(10) for kind in FIRST_MAPS}
    flows = [np.load(maps / f"{number:06d}-flow.npy", allow_pickle=False) for number in range(10)]
    assert {(flow.shape, flow.dtype) for flow in flows} == {((24, 32, 2), np.dtype(np.float32))}
    assert not flows[0].any()  # a keyframe
    assert flows[9].any()
    for kind in FIRST_MAPS[1:]:
        assert cv2.imread(str(maps / f"000009-{kind}"), cv2.IMREAD_UNCHANGED).shape[:2] == (24, 32)
    assert cv2.imread(str(sheet)).std() > 10


# Through an identity painter nothing moves by more than one level


@pytest.mark.parametrize(
    ("filters", "pixels"),
    [
        (f"format=yuv420p,{MUTED},setparams=colorspace=bt709:range=tv", "yuv420p"),
        (f"scale=out_range=full,format=yuv420p,{MUTED},setparams=range=pc", "yuv420p"),
        ("format=gray", "gray"),
        ("format=bgr0", "bgr24"),
        (f"scale=17:31,format=yuv420p,{MUTED}", "yuv420p"),
    ],
    ids=["bt709", "full range", "gray", "rgb", "17x31"],
)
def test_identity_keeps_a_lossless_film(
    ffmpeg: str, make: Make, tmp_path: Path, shared_daemon: Daemon, filters: str, pixels: str
) -> None:
    source = make("source.mkv", *pattern(frames=3, source="mandelbrot"), "-vf", filters, *LOSSLESS)
    target = tmp_path / "painted.mkv"
    painted(source, target, *IDENTITY, "--codec", "ffv1", daemon=shared_daemon)
    before, after = stored(ffmpeg, source, pixels), stored(ffmpeg, target, pixels)
    assert np.abs(before - after).max() <= 1
    assert tags(target) == tags(source)


def tags(path: Path) -> tuple[int, int, int, int]:
    """How the first frame's samples mean colours, and its size."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return int(frame.colorspace), int(frame.color_range), frame.width, frame.height


def test_identity_keeps_ten_bits_within_one_level_of_eight(
    ffmpeg: str, make: Make, tmp_path: Path, shared_daemon: Daemon
) -> None:
    source = make(
        "source.mkv", *pattern(frames=3, source="mandelbrot"), "-vf", f"format=yuv420p10le,{MUTED}", *LOSSLESS
    )
    target = tmp_path / "painted.mkv"
    said = painted(source, target, *IDENTITY, "--codec", "ffv1", daemon=shared_daemon)
    before, after = stored(ffmpeg, source, "yuv420p10le", np.uint16), stored(ffmpeg, target, "yuv420p")
    # Eight bits are the nearest to ten within half a level, and the painter adds at most one.
    assert np.abs(before / 4 - after).max() <= 1.5
    assert "10 bits" in said


def test_sample_aspect_stays(make: Make, tmp_path: Path, shared_daemon: Daemon) -> None:
    source, target = make("source.mp4", *pattern(frames=2), "-vf", "setsar=16/15"), tmp_path / "painted.mp4"
    painted(source, target, *POSTER, daemon=shared_daemon)
    with av.open(str(target)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


def test_rotation_stays_a_tag(ffmpeg: str, make: Make, tmp_path: Path, shared_daemon: Daemon) -> None:
    plain = make("plain.mkv", *pattern(frames=3), "-vf", f"format=yuv420p,{MUTED}", *LOSSLESS)
    source, target = tmp_path / "turned.mkv", tmp_path / "painted.mkv"
    turn(plain, source)
    painted(source, target, *IDENTITY, "--codec", "ffv1", daemon=shared_daemon)
    assert rotation(target) == rotation(source) != 0
    assert tags(target) == tags(source)
    assert np.abs(stored(ffmpeg, source, "yuv420p") - stored(ffmpeg, target, "yuv420p")).max() <= 1


def turn(source: Path, target: Path) -> None:
    """Copies a film, and tags it as one that is stored lying on its side."""
    with av.open(str(source)) as film, av.open(str(target), "w") as out:
        stream = film.streams.video[0]
        copy = out.add_stream_from_template(stream)
        copy.set_display_rotation(90)
        for packet in film.demux(stream):
            if packet.size:
                packet.stream = copy
                out.mux(packet)


def rotation(path: Path) -> int:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).rotation


# Films that are none, or not whole


def test_a_film_cut_short_is_painted_as_far_as_it_goes(make: Make, tmp_path: Path, shared_daemon: Daemon) -> None:
    whole = make("whole.mp4", *pattern(frames=60, source="mandelbrot"), "-c:v", "libx264", "-movflags", "+faststart")
    cut, target = tmp_path / "cut.mp4", tmp_path / "painted.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    said = painted(cut, target, *POSTER, daemon=shared_daemon)
    assert "cut short" in said
    assert shown(target) == [Fraction(number, 25) for number in range(len(shown(target)))]
    assert 5 < len(shown(target)) < 45


@pytest.mark.parametrize(
    ("kind", "why"),
    [("noise", "not a film"), ("empty", "is empty"), ("sound", "no pictures"), ("missing", "no such file")],
)
def test_what_is_no_film_is_told(make: Make, tmp_path: Path, kind: str, why: str) -> None:
    source, target = tmp_path / f"{kind}.mp4", tmp_path / "painted.mp4"
    if kind == "sound":
        make(source.name, "-f", "lavfi", "-i", "sine=d=0.2")
    elif kind != "missing":
        source.write_bytes(np.random.default_rng(0).bytes(5000) if kind == "noise" else b"")
    said = refused(source, target)
    assert why in said
    assert source.name in said
    assert not target.exists()


# Places that cannot be written


@pytest.mark.parametrize("place", ["missing/out.mp4", "clip.mkv/out.mp4", "/proc/out.mp4", "out.xyz"])
def test_an_output_that_cannot_be_made_is_told(clip: Path, tmp_path: Path, shared_daemon: Daemon, place: str) -> None:
    target = tmp_path / place
    said = refused(clip, target, *POSTER, "--daemon", shared_daemon.address)
    assert target.name in said
    assert not os.path.lexists(target)


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_a_full_disk_is_told(clip: Path, tmp_path: Path, shared_daemon: Daemon, codec: str) -> None:
    target = tmp_path / "out.mkv"
    target.symlink_to("/dev/full")
    said = refused(clip, target, *POSTER, "--codec", codec, "--daemon", shared_daemon.address)
    assert "No space left on device" in said
    assert target.is_symlink()


def test_the_input_is_not_overwritten(clip: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    before = clip.read_bytes()
    link = tmp_path / "link.mkv"
    link.symlink_to(clip)
    for target in (clip, link):
        assert "is the input" in refused(clip, target, *POSTER, "--daemon", shared_daemon.address)
    assert clip.read_bytes() == before


# Wishes that cannot be met


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--look", "nonsense"), ("nonsense", "poster", "watercolor")),
        (("--strength", "1.5"), ("strength", "1.5", "less than or equal to 1")),
        (("--painter", "nobody"), ("nobody", "filters", "identity")),
        (("--flow", "nothing"), ("nothing", "dis", "none")),
        (("--max-pixels", "1"), ("max_pixels", "64")),
        (("--codec", "ffv1"), ("ffv1", "h264")),
        (("--crf", "99"), ("99", "51")),
        (("--start", "100"), ("no frame", "0.4")),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_a_wrong_wish_is_told_with_what_is_allowed(
    clip: Path, tmp_path: Path, shared_daemon: Daemon, flags: tuple[str, ...], told: tuple[str, ...]
) -> None:
    target = tmp_path / "new.mp4"
    said = refused(clip, target, *flags, "--daemon", shared_daemon.address)
    assert all(word in said for word in told), said
    assert not target.exists()
    with Client(shared_daemon.address) as client:
        client.ping()
        until(lambda: not client.status().sessions)


def test_an_older_film_is_kept_where_no_new_one_comes(clip: Path, tmp_path: Path, shared_daemon: Daemon) -> None:
    kept = tmp_path / "kept.mp4"
    kept.write_bytes(b"an older film")
    for flags in (("--look", "nonsense"), ("--codec", "ffv1")):
        refused(clip, kept, *flags, "--daemon", shared_daemon.address)
    assert kept.read_bytes() == b"an older film"


def test_a_wrong_use_is_told_by_the_flag(clip: Path, tmp_path: Path) -> None:
    assert "--codec" in refused(clip, tmp_path / "out.mp4", "--codec", "theora", code=2)
    assert "--strength" in refused(clip, tmp_path / "out.mp4", "--strength", "much", code=2)


@pytest.mark.parametrize("flag", ["--rate=0", "--rate=1/0", "--start=nan", "--end=inf"])
def test_a_number_that_makes_no_sense_is_told(clip: Path, tmp_path: Path, shared_daemon: Daemon, flag: str) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "picture.png"), np.zeros((16, 16, 3), np.uint8))
    source = tmp_path / "in" if flag.startswith("--rate") else clip
    done = run(source, tmp_path / "out.mp4", *POSTER, flag, "--daemon", shared_daemon.address)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2)
    assert (done.returncode == 0) == (tmp_path / "out.mp4").exists()


def test_a_message_is_one_line(tmp_path: Path) -> None:
    """A path that is broken in two can be neither copied nor searched for."""
    source = tmp_path / ("long" * 40 + ".mp4")
    done = run(source, tmp_path / "out.mp4")
    assert done.stderr.splitlines() == [f"warpaint: {source}: there is no such file"]


# Ends before the end


@pytest.fixture
def long_clip(make: Make) -> Path:
    """More frames than any test waits for."""
    return make("long.mp4", *pattern(frames=3000), "-c:v", "libx264", "-preset", "ultrafast")


def test_ctrl_c_leaves_a_film_that_plays(
    long_clip: Path, tmp_path: Path, environment: dict[str, str], short_folder: Path
) -> None:
    target, maps = tmp_path / "painted.mp4", tmp_path / "maps"
    # A terminal sends it to all processes of the group.
    with Running(long_clip, target, maps, *POSTER, env=environment, start_new_session=True) as running:
        daemon = running.own_daemon()
        running.until_frame(5)
        os.killpg(running.process.pid, signal.SIGINT)
        code, said = running.end()
    assert code == 130, said
    assert "Traceback" not in said
    assert "kept" in said
    assert 5 < len(shown(target)) < 4500
    assert not psutil.pid_exists(daemon)
    assert list(short_folder.iterdir()) == []


def test_ctrl_c_while_the_reader_is_busy(make: Make, tmp_path: Path, shared_daemon: Daemon) -> None:
    """Decoding is the slowest part here: the film must not be taken from under the thread that reads it."""
    source = make("slow.mkv", *pattern("1280x720", frames=30, source="mandelbrot"), "-c:v", "ffv1", "-slices", 4)
    flags = (*IDENTITY, "--max-pixels", "64", "--daemon", shared_daemon.address)
    for number in range(3):
        with Running(source, tmp_path / f"{number}.mp4", tmp_path / f"maps{number}", *flags) as running:
            running.until_frame(2 + number)
            running.process.send_signal(signal.SIGINT)
            code, said = running.end()
        assert code == 130, said
        assert shown(tmp_path / f"{number}.mp4")


def test_a_daemon_that_is_not_there_is_told(clip: Path, tmp_path: Path, short_folder: Path) -> None:
    address = f"ipc://{short_folder}/none.sock"
    assert f"no daemon answers at {address}" in refused(clip, tmp_path / "out.mp4", "--daemon", address)
    assert "'here'" in refused(clip, tmp_path / "out.mp4", "--daemon", "here")
    assert not (tmp_path / "out.mp4").exists()


def test_starts_a_daemon_and_ends_it(
    clip: Path, tmp_path: Path, environment: dict[str, str], short_folder: Path
) -> None:
    done = run(clip, tmp_path / "out.mp4", *POSTER, env=environment)
    assert done.returncode == 0, done.stderr
    found = re.search(r"no daemon is running: started one for this, process (\d+)", flat(done.stderr))
    assert found
    assert not psutil.pid_exists(int(found[1]))
    assert list(short_folder.iterdir()) == []
    assert len(shown(tmp_path / "out.mp4")) == 10


def test_finds_the_users_own_daemon(
    clip: Path, tmp_path: Path, environment: dict[str, str], short_folder: Path, shared_daemon: Daemon
) -> None:
    (short_folder / "warpaint").mkdir()
    socket = Path(shared_daemon.address.removeprefix("ipc://"))
    (short_folder / "warpaint" / "warpaint.sock").symlink_to(socket)
    done = run(clip, tmp_path / "out.mp4", *POSTER, env=environment)
    assert done.returncode == 0, done.stderr
    assert "started" not in done.stderr


def test_a_killed_client_leaves_no_daemon_behind(long_clip: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    with Running(long_clip, tmp_path / "out.mkv", tmp_path / "maps", *POSTER, env=environment) as running:
        daemon = running.own_daemon()
        running.until_frame(3)
        running.process.kill()
        running.end()
    until(lambda: not psutil.pid_exists(daemon), GONE_WITHIN_S)


def test_a_daemon_that_dies_is_told_and_what_is_painted_plays(
    long_clip: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    target = tmp_path / "out.mp4"
    with Running(long_clip, target, tmp_path / "maps", *POSTER, env=environment) as running:
        daemon = running.own_daemon()
        running.until_frame(5)
        os.kill(daemon, signal.SIGKILL)
        code, said = running.end(DAEMON_MISSED_WITHIN_S)
    assert code == 1, said
    assert "Traceback" not in said
    assert "daemon" in said
    assert 5 < len(shown(target)) < 4500


def test_a_daemon_that_cannot_be_started_is_told(clip: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    said = refused(clip, tmp_path / "out.mp4", env=environment | {"WARPAINT_PAINTERS": "nobody"})
    assert "could not be started" in said
    assert "nobody" in said


def test_a_notice_is_told_once(clip: Path, tmp_path: Path) -> None:
    """Each keyframe of a prompt that is too long has the same to say."""
    keyframes_alone = ("--flow", "none", "--prompt", "a harbour")
    with daemon(tmp_path, "--painter", "painters_under_test:Remarks") as running:
        said = painted(clip, tmp_path / "out.mp4", *keyframes_alone, daemon=running)
    assert said.count("prompt_cut: 'a harbour' is too long") == 1
    [keyframes] = re.findall(r"keyframes (\d+)", said)
    assert int(keyframes) > 1
