"""Reading films: clips of every kind, made by the ffmpeg program, which knows nothing of our reader."""

import io
import itertools
import os
import subprocess
import threading
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from warpaint.client.errors import MediaError
from warpaint.client.film import decoder, packets
from warpaint.client.film.media import Film, FilmFrame, buffer_bytes
from warpaint.client.film.reader import FilmIn, open_film
from warpaint.proto.messages import Colour

LOSSLESS = ("-c:v", "ffv1")


def ffmpeg(*arguments: object, data: bytes | None = None) -> bytes:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-y", "-v", "error", "-nostdin" if data is None else "-hide_banner", *map(str, arguments)]
    return subprocess.run(command, check=True, input=data, capture_output=True).stdout


def pattern(size: str = "32x24", *, rate: int = 25, frames: int = 5, source: str = "testsrc2") -> tuple[object, ...]:
    return ("-f", "lavfi", "-i", f"{source}=s={size}:r={rate}", "-frames:v", frames)


def raw_frames(path: Path, pixels: str = "yuv420p") -> list[bytes]:
    """The stored frames, by ffmpeg."""
    data = ffmpeg("-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixels, "-")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        length = buffer_bytes(pixels, stream.width, stream.height)  # type: ignore[arg-type]
    return [data[begin : begin + length] for begin in range(0, len(data), length)]


def read(film: Film) -> list[FilmFrame]:
    with film:
        return list(film)


def times(frames: list[FilmFrame], film: Film) -> list[Fraction]:
    return [frame.pts * Fraction(*film.source.time_base) for frame in frames]


def test_gives_the_stored_samples_and_every_frame(tmp_path: Path) -> None:
    clip = tmp_path / "a:b.mkv"  # a colon must not be read as a protocol
    ffmpeg(*pattern(), "-vf", "scale=33:25,format=yuv420p", *LOSSLESS, f"file:{clip}")
    film = open_film(clip)
    frames = read(film)
    assert [frame.buffer.tobytes() for frame in frames] == raw_frames(clip.rename(tmp_path / "c.mkv"))
    assert (film.source.width, film.source.height, film.source.pixels) == (33, 25, "yuv420p")
    assert film.frame_count_estimate == 5
    assert film.average_rate == Fraction(25)
    assert film.duration_s == 0.2
    assert film.notices == []


def test_frames_come_in_order_of_presentation_with_b_frames(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    ffmpeg(*pattern(frames=30), "-c:v", "libx264", "-bf", "3", clip)
    film = open_film(clip)
    frames = read(film)
    assert times(frames, film) == [Fraction(number, 25) for number in range(30)]
    assert {Fraction(frame.duration or 0) * Fraction(*film.source.time_base) for frame in frames} == {Fraction(1, 25)}


def test_variable_rate_is_kept(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    ffmpeg(*pattern(), "-vf", "setpts=N*N*0.04/TB", "-fps_mode", "passthrough", "-enc_time_base", "1:1000", clip)
    film = open_film(clip)
    assert times(read(film), film) == [Fraction(number * number, 25) for number in range(5)]


def test_an_edit_list_hides_what_it_hides(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    ffmpeg(*pattern(frames=20), "-c:v", "libx264", "-g", "20", "-bf", "2", whole)
    ffmpeg("-ss", "0.3", "-i", whole, "-c", "copy", cut)  # by an edit list: the only keyframe lies before
    film = open_film(cut)
    frames = read(film)
    assert [frame.buffer.tobytes() for frame in frames] == raw_frames(cut)
    assert 10 <= len(frames) < 20
    assert all(later.pts > earlier.pts for earlier, later in itertools.pairwise(frames))


def test_a_film_of_one_frame(tmp_path: Path) -> None:
    ffmpeg(*pattern(frames=1), "-c:v", "libx264", tmp_path / "clip.mp4")
    assert len(read(open_film(tmp_path / "clip.mp4"))) == 1


def test_frames_without_times_are_given_some(tmp_path: Path) -> None:
    clip = tmp_path / "clip.h264"
    ffmpeg(*pattern(frames=6), "-c:v", "libx264", "-bf", "0", clip)
    film = open_film(clip)
    assert times(read(film), film) == [Fraction(number, 25) for number in range(6)]


@pytest.mark.parametrize(
    ("stored", "pixels", "notice"),
    [
        ("yuv444p", "yuv420p", "4:2:0"),
        ("yuv422p10le", "yuv420p", "10 bits"),
        ("yuva420p", "yuv420p", "transparency"),
        ("gray", "gray", None),
        ("gray10le", "gray", "10 bits"),
        ("bgr0", "bgr24", None),
        ("bgra", "bgr24", "transparency"),
    ],
)
def test_layouts_become_those_of_the_wire(tmp_path: Path, stored: str, pixels: str, notice: str | None) -> None:
    clip = tmp_path / "clip.mkv"
    ffmpeg(*pattern(frames=2), "-vf", f"format={stored}", *LOSSLESS, clip)
    film = open_film(clip)
    frames = read(film)
    assert film.source.pixels == pixels
    assert (film.notices == []) if notice is None else any(notice in text for text in film.notices)
    for frame, expected in zip(frames, raw_frames(clip, pixels), strict=True):
        difference = np.abs(frame.buffer.astype(int) - np.frombuffer(expected, np.uint8))
        assert difference[: 32 * 24].max() <= 1
        assert difference.mean() < 2  # the ffmpeg program makes chroma smaller with another filter


def test_a_palette_becomes_bgr(tmp_path: Path) -> None:
    ffmpeg(*pattern(frames=2), tmp_path / "clip.gif")
    film = open_film(tmp_path / "clip.gif")
    assert film.source.pixels == "bgr24"
    assert len(read(film)) == 2


def test_ten_bits_keep_their_level(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    ffmpeg(
        "-f", "lavfi", "-i", "color=c=white:s=16x16:r=25", "-frames:v", 1, "-pix_fmt", "yuv420p10le", *LOSSLESS, clip
    )
    (frame,) = read(open_film(clip))
    assert set(frame.buffer[:256].tolist()) == {235}
    assert set(frame.buffer[256:].tolist()) == {128}


@pytest.mark.parametrize("stored", ["yuvj420p", "yuvj422p", "yuvj444p"])
def test_full_range_stays_full(tmp_path: Path, stored: str) -> None:
    clip = tmp_path / "clip.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", "color=c=white:s=16x16:r=25", "-frames:v", 1),
        *("-vf", f"scale=out_range=full,format={stored}", "-c:v", "mjpeg", "-q:v", 1, clip),
    )
    film = open_film(clip)
    (frame,) = read(film)
    assert film.source.colour.full_range
    assert frame.buffer[:256].min() >= 254


def test_colour_tags_and_high_dynamic_range(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    tags = "setparams=range=tv:color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"
    ffmpeg(*pattern(), "-vf", f"format=yuv420p10le,{tags}", "-c:v", "libx265", "-x265-params", "log-level=none", clip)
    film = open_film(clip)
    film.__exit__(None, None, None)
    assert film.source.colour == Colour(matrix="bt2020", full_range=False)
    assert (film.tags.primaries, film.tags.transfer, film.tags.matrix) == (9, 16, 9)
    assert any("HDR" in text for text in film.notices)
    assert any("10 bits" in text for text in film.notices)


def test_an_untagged_film_has_no_matrix(tmp_path: Path) -> None:
    ffmpeg(*pattern(), "-c:v", "libx264", tmp_path / "clip.mkv")
    with open_film(tmp_path / "clip.mkv") as film:
        assert film.source.colour.matrix is None


def test_sample_aspect(tmp_path: Path) -> None:
    ffmpeg(*pattern(), "-vf", "setsar=16/15", "-c:v", "libx264", tmp_path / "clip.mp4")
    with open_film(tmp_path / "clip.mp4") as film:
        assert film.source.sample_aspect == (16, 15)


@pytest.mark.parametrize("clockwise", [90, 180, 270])
def test_rotation_is_clockwise_to_upright(tmp_path: Path, clockwise: int) -> None:
    upright, stored, turned = tmp_path / "upright.mkv", tmp_path / "stored.mkv", tmp_path / "turned.mp4"
    ffmpeg(*pattern(frames=1), "-vf", "format=gray", *LOSSLESS, upright)
    # Stored turned back against the clock, with a tag that turns it upright again.
    back = {90: "transpose=2", 180: "hflip,vflip", 270: "transpose=1"}[clockwise]
    ffmpeg("-i", upright, "-vf", back, *LOSSLESS, stored)
    ffmpeg("-display_rotation", -clockwise, "-i", stored, "-c", "copy", "-f", "matroska", turned)
    film = open_film(turned)
    (frame,) = read(film)
    assert film.source.rotation == clockwise
    picture = frame.buffer.reshape(film.source.height, film.source.width)
    expected = np.frombuffer(raw_frames(upright, "gray")[0], np.uint8).reshape(24, 32)
    np.testing.assert_array_equal(np.rot90(picture, -clockwise // 90), expected)


def test_interlaced_frames_are_deinterlaced_one_for_one(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    # Each field has another gray: the comb of interlacing at its worst.
    fields = "geq=lum='16+mod(N*67,200)':cb=128:cr=128,tinterlace=interleave_top,setfield=tff"
    ffmpeg(*pattern("32x24", rate=50, frames=20), "-vf", f"format=yuv420p,{fields}", *LOSSLESS, clip)
    film = open_film(clip)
    frames = read(film)
    assert times(frames, film) == [Fraction(number, 25) for number in range(len(raw_frames(clip)))]
    combs = [comb(np.frombuffer(stored, np.uint8)) for stored in raw_frames(clip)]
    assert max(comb(frame.buffer) for frame in frames[1:-1]) < min(combs) / 4
    assert any("deinterlaced" in text for text in film.notices)


def comb(buffer: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> float:
    """The mean difference between neighbouring lines of a 32x24 picture."""
    return float(np.abs(np.diff(buffer[: 32 * 24].reshape(24, 32).astype(int), axis=0)).mean())


def test_a_film_that_changes_its_size_keeps_the_first(tmp_path: Path) -> None:
    parts = [ffmpeg(*pattern(size), "-c:v", "libx264", "-f", "mpegts", "-") for size in ("32x24", "64x48")]
    (tmp_path / "clip.ts").write_bytes(b"".join(parts))
    film = open_film(tmp_path / "clip.ts")
    frames = read(film)
    assert {frame.buffer.size for frame in frames} == {32 * 24 * 3 // 2}
    assert len(frames) == 10
    assert any("changes its size" in text for text in film.notices)


def test_a_film_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    ffmpeg(*pattern("64x48", frames=100, source="mandelbrot"), "-c:v", "libx264", "-movflags", "+faststart", whole)
    (tmp_path / "short.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    film = open_film(tmp_path / "short.mp4")
    frames = read(film)
    assert 5 < len(frames) < 95
    assert any("cut short" in text for text in film.notices)


def test_damaged_packets_are_passed_over(tmp_path: Path) -> None:
    ffmpeg(*pattern("64x48", frames=50), "-c:v", "mpeg2video", "-g", "5", "-f", "mpegts", tmp_path / "clip.ts")
    data = bytearray((tmp_path / "clip.ts").read_bytes())
    data[len(data) // 3 : len(data) // 2] = np.random.default_rng(1).bytes(len(data) // 2 - len(data) // 3)
    (tmp_path / "clip.ts").write_bytes(data)
    film = open_film(tmp_path / "clip.ts")
    assert 10 < len(read(film)) < 50


def test_undecodable_packets_are_counted(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    ffmpeg(*pattern(frames=4), "-c:v", "png", clip)
    data = bytearray(clip.read_bytes())
    second = data.find(b"\x89PNG", data.find(b"\x89PNG") + 1)
    data[second + 16 : second + 24] = bytes(8)  # width and height
    clip.write_bytes(data)
    film = open_film(clip)
    assert len(read(film)) == 3
    assert "Damaged packets of the picture were skipped: 1." in film.notices


def film_with_sound(path: Path, *, seconds: int = 4) -> Path:
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s=32x24:r=25:d={seconds}", "-f", "lavfi", "-i", f"sine=d={seconds}"),
        *("-c:v", "libx264", "-g", "50", "-bf", "2", "-c:a", "aac", path),
    )
    return path


def test_an_extract_begins_at_zero_with_its_sound(tmp_path: Path) -> None:
    clip = film_with_sound(tmp_path / "clip.mp4")
    whole = read(open_film(clip))
    film = open_film(clip, start_s=2.01, end_s=3.0)
    with film:
        frames = list(film)
        packets = list(film.copied.take(None))
        sound = [packet.pts * packet.time_base for packet in packets if packet.pts is not None]
    assert [frame.buffer.tobytes() for frame in frames] == [frame.buffer.tobytes() for frame in whole[51:75]]
    assert times(frames, film) == [Fraction(number, 25) for number in range(24)]
    assert 0 <= sound[0] < 0.03
    assert 0.92 < sound[-1] < 0.96
    assert film.duration_s == pytest.approx(0.99)
    assert film.frame_count_estimate == 25


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001)])
def test_an_extract_begins_and_ends_at_the_frames_whose_times_are_given(tmp_path: Path, rate: Fraction) -> None:
    """Rounded as they may be: to a float, which for 5.48 lies behind the frame, or to microseconds."""
    film = tmp_path / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=96x64:r={rate}", "-frames:v", 145, "-c:v", "libx264", film)
    whole = read(open_film(film))
    assert len({each.buffer.tobytes() for each in whole}) == 145
    for number in (1, 2, 58, 137):
        start_s, end_s = (float(f"{float(each / rate):.6f}") for each in (number, number + 3))
        frames = read(open_film(film, start_s=start_s, end_s=end_s))
        assert [each.buffer.tobytes() for each in frames] == [
            each.buffer.tobytes() for each in whole[number : number + 3]
        ]
        late_s = start_s + 2e-6
        assert read(open_film(film, start_s=late_s, end_s=end_s))[0].buffer.tobytes() == frames[1].buffer.tobytes()


def test_an_extract_of_a_pipe(tmp_path: Path) -> None:
    clip = film_with_sound(tmp_path / "clip.mkv")
    whole = read(open_film(clip))
    with Piped(clip.read_bytes()) as pipe:
        frames = read(open_film(pipe, start_s=1.5, end_s=2.5))
    assert [frame.buffer.tobytes() for frame in frames] == [frame.buffer.tobytes() for frame in whole[38:63]]


@pytest.mark.parametrize(("start_s", "end_s"), [(-1.0, None), (2.0, 1.0), (1.0, 1.0), (100.0, None), (3.97, 3.98)])
def test_an_extract_without_frames_is_refused(tmp_path: Path, start_s: float, end_s: float | None) -> None:
    clip = film_with_sound(tmp_path / "clip.mp4")
    with pytest.raises(MediaError, match="extract"):
        open_film(clip, start_s=start_s, end_s=end_s)


def test_waiting_sound_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "MAX_WAITING_BYTES", 1000)
    film = open_film(film_with_sound(tmp_path / "clip.mp4"))
    with film:
        assert len(list(film)) == 100
        assert sum(packet.size for packet in film.copied.take(None)) <= 1000
    assert any("too many waited" in text for text in film.notices)


class Piped:
    """Bytes that come through a real pipe, in pieces."""

    def __init__(self, data: bytes, *, piece: int = 10_000) -> None:
        self._data, self._piece = data, piece

    def __enter__(self) -> io.BufferedReader:
        reading, writing = os.pipe()
        self._thread = threading.Thread(target=self._feed, args=(writing,))
        self._thread.start()
        self._file = open(reading, "rb")  # noqa: PTH123
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._thread.join()

    def _feed(self, descriptor: int) -> None:
        with open(descriptor, "wb", buffering=0) as file:
            try:
                for begin in range(0, len(self._data), self._piece):
                    file.write(self._data[begin : begin + self._piece])
            except BrokenPipeError:
                pass


@pytest.mark.parametrize("container", ["nut", "mpegts", "matroska"])
def test_reads_a_pipe(tmp_path: Path, container: str) -> None:
    clip = tmp_path / "clip"
    ffmpeg(*pattern(frames=20), "-c:v", "libx264", "-f", container, clip)
    with Piped(clip.read_bytes()) as pipe:
        frames = read(open_film(pipe))
    assert [frame.buffer.tobytes() for frame in frames] == raw_frames(clip)


def test_a_live_pipe_gives_each_frame_when_it_comes() -> None:
    """No frame is held back: each is read before the next one is written."""
    data = ffmpeg(
        *pattern(frames=20), "-c:v", "libx264", "-tune", "zerolatency", "-g", "5", "-f", "nut", "-flush_packets", 1, "-"
    )
    ends = packet_ends(data)
    probed = 12  # more than opening takes
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb", buffering=0) as feeder:  # noqa: PTH123
        feeder.write(data[: ends[probed - 1]])
        with open_film(pipe, format="nut") as film:
            frames = iter(film)
            for _ in range(probed):
                next(frames)
            for end_before, end in zip(ends[probed - 1 :], ends[probed:], strict=False):
                feeder.write(data[end_before:end])
                next(frames)


def packet_ends(data: bytes) -> list[int]:
    with av.open(io.BytesIO(data), "r", format="nut") as container:
        starts = [packet.pos for packet in container.demux(video=0) if packet.size]
    return [start for start in starts[1:] if start is not None] + [len(data)]


def test_reads_a_file_object(tmp_path: Path) -> None:
    clip = film_with_sound(tmp_path / "clip.mp4", seconds=1)
    assert len(read(open_film(io.BytesIO(clip.read_bytes())))) == 25


def broken_file(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.mp4"
    match kind:
        case "empty":
            path.touch()
        case "noise":
            path.write_bytes(np.random.default_rng(0).bytes(5000))
        case "text":
            path = path.with_suffix(".txt")
            path.write_text("Warp what you can, paint what you must.\n" * 100)
        case "sound":
            ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", path)
        case "no header":
            ffmpeg(*pattern(), "-c:v", "libx264", path)
            path.write_bytes(path.read_bytes()[:-200])  # the index, at the end
        case "no pictures":
            ffmpeg(*pattern(), "-c:v", "libx264", "-movflags", "+faststart", path)
            data = path.read_bytes()
            path.write_bytes(data[: data.find(b"mdat") + 4])
    return path


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("missing", "no such file"),
        ("empty", "is empty"),
        ("noise", "not a film that can be read"),
        ("text", "is text"),
        ("sound", "no pictures to paint, only audio"),
        ("no header", "header is damaged or cut off"),
        ("no pictures", "no picture of it can be decoded"),
    ],
)
def test_what_is_no_film_is_refused_by_name(tmp_path: Path, kind: str, why: str) -> None:
    path = broken_file(tmp_path, kind)
    with pytest.raises(MediaError, match=why) as caught:
        open_film(path)
    assert path.name in str(caught.value)


def test_a_pipe_that_ends_at_once_is_refused() -> None:
    with Piped(b"") as pipe, pytest.raises(MediaError, match="not a film that can be read"):
        open_film(pipe)


def test_music_with_a_cover_is_no_film(tmp_path: Path) -> None:
    ffmpeg(*pattern(frames=1), tmp_path / "cover.png")
    ffmpeg(
        *("-f", "lavfi", "-i", "sine=d=0.5", "-i", tmp_path / "cover.png", "-map", 0, "-map", 1),
        *("-c:v", "copy", "-disposition:v:0", "attached_pic", tmp_path / "music.m4a"),
    )
    with pytest.raises(MediaError, match="no pictures to paint"):
        FilmIn(tmp_path / "music.m4a")


def test_sound_stored_far_behind_is_not_sought_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "INTERLEAVE_S", Fraction(1))
    film = open_film(film_with_sound(tmp_path / "clip.mp4"), end_s=0.5)
    with film:
        assert len(list(film)) == 13
        assert film.copied.streams[0].type == "audio"
