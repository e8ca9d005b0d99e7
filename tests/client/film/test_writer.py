"""Writing films: what comes out is read back by PyAV and ffmpeg, and compared with what went in."""

import errno
import io
import os
import subprocess
import threading
import zlib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from support.programs import program
from warpaint.client.errors import MediaError
from warpaint.client.film.formats import CODECS, CONTAINERS
from warpaint.client.film.media import ColourTags, FileLike, Film
from warpaint.client.film.pictures import PictureFolderOut
from warpaint.client.film.pixel_shape import CHECKSUM, ROOM, TRACKS, Shape
from warpaint.client.film.reader import open_film
from warpaint.client.film.writer import FilmOut, create_film

UNTAGGED = ColourTags()
LOSSLESS = ("-c:v", "ffv1")


def ffmpeg(*arguments: object) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-nostdin", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def pattern(*, frames: int = 5, filters: str = "null") -> tuple[object, ...]:
    return ("-f", "lavfi", "-i", f"testsrc2=s=32x24:r=25,{filters}", "-frames:v", frames)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    ffmpeg(*pattern(filters="format=yuv420p"), *LOSSLESS, path)
    return path


def copy(source: Path, target: Path, **options: object) -> list[str]:
    """Paints by the identity; returns the notices of the film that is written."""
    with open_film(source) as film, FilmOut(target, like=film, **options) as out:  # type: ignore[arg-type]
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    return out.notices


@dataclass
class Stored:
    """A stream as it is read back."""

    codec: str
    language: str | None
    times: list[Fraction] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)


def streams(path: Path, kind: str) -> list[Stored]:
    with av.open(f"file:{path}") as container:
        found = {
            stream.index: Stored(stream.codec_context.name, stream.language)
            for stream in container.streams
            if stream.type == kind
        }
        for packet in container.demux():
            if packet.size and packet.stream_index in found:
                stored = found[packet.stream_index]
                stored.times.append((packet.pts or 0) * packet.time_base)
                stored.packets.append(bytes(packet))
    return list(found.values())


def shown(path: Path) -> list[Fraction]:
    """When the frames are shown, in order."""
    with av.open(f"file:{path}") as container:
        times = [(frame.pts, frame.time_base) for frame in container.decode(video=0)]
    return [pts * time_base for pts, time_base in times if pts is not None and time_base is not None]


def samples(path: Path) -> bytes:
    with open_film(path) as film:
        return b"".join(frame.buffer.tobytes() for frame in film)


@pytest.mark.parametrize(
    ("codec", "extension", "crf"),
    [
        ("h264", "mp4", 0),
        ("h264", "mov", 0),
        ("h264", "mkv", 0),
        ("h264", "ts", 0),
        ("h264", "nut", 0),
        ("ffv1", "mkv", None),
        ("ffv1", "nut", None),
    ],
)
def test_the_identity_is_lossless(clip: Path, tmp_path: Path, codec: str, extension: str, crf: int | None) -> None:
    target = tmp_path / f"out.{extension}"
    assert copy(clip, target, codec=codec, crf=crf) == []
    assert samples(target) == samples(clip)
    assert shown(target) == [Fraction(number, 25) for number in range(5)]


@pytest.mark.parametrize(
    ("codec", "extension"),
    [
        ("h264", "mp4"),
        ("hevc", "mp4"),
        ("hevc", "ts"),
        ("hevc", "nut"),
        ("vp9", "webm"),
        ("vp9", "mp4"),
        ("vp9", "nut"),
        ("av1", "webm"),
    ],
)
def test_each_codec_keeps_times_and_looks(clip: Path, tmp_path: Path, codec: str, extension: str) -> None:
    target = tmp_path / f"out.{extension}"
    copy(clip, target, codec=codec)
    assert shown(target) == [Fraction(number, 25) for number in range(5)]
    before, after = (np.frombuffer(samples(path), np.uint8).astype(int) for path in (clip, target))
    assert np.abs(before - after).mean() < 6


@pytest.mark.parametrize("start", [0, 7, 1001])
def test_variable_rate_is_kept_to_the_tick_in_mp4(tmp_path: Path, start: int) -> None:
    source, target = tmp_path / "source.nut", tmp_path / "out.mp4"
    ticks = [start + number * number * 1001 + number % 3 for number in range(12)]
    write_clip(source, ticks, Fraction(1, 30000))
    copy(source, target)
    assert shown(source) == [Fraction(tick, 30000) for tick in ticks]
    assert shown(target) == shown(source)


def test_a_film_that_begins_before_zero_is_moved_to_it(clip: Path, tmp_path: Path) -> None:
    with open_film(clip) as film, FilmOut(tmp_path / "out.mp4", like=film) as out:
        for frame in film:
            out.write(frame.pts - 80, frame.duration, frame.buffer)
    assert shown(tmp_path / "out.mp4") == [Fraction(number, 25) for number in range(5)]


def write_clip(path: Path, ticks: list[int], time_base: Fraction, tags: ColourTags = UNTAGGED) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30, time_base=time_base, width=16, height=16, pix_fmt="yuv420p")
        stream.colorspace, stream.color_range = tags.matrix, tags.range
        stream.color_primaries, stream.color_trc = tags.primaries, tags.transfer
        for tick in ticks:
            frame = av.VideoFrame(16, 16, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([tick % 256]) * plane.buffer_size)
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("codec", "extension"), [("h264", "mp4"), ("hevc", "mkv"), ("vp9", "webm"), ("ffv1", "mkv")])
def test_colour_tags_survive(tmp_path: Path, codec: str, extension: str) -> None:
    source, target = tmp_path / "source.mkv", tmp_path / f"out.{extension}"
    tags = ColourTags(matrix=9, primaries=9, transfer=18, range=2)
    write_clip(source, [0, 1, 2], Fraction(1, 25), tags)
    copy(source, target, codec=codec)
    with open_film(source) as before, open_film(target) as after:
        assert after.tags == before.tags == tags


def test_untagged_stays_untagged(clip: Path, tmp_path: Path) -> None:
    copy(clip, tmp_path / "out.mp4")
    with open_film(tmp_path / "out.mp4") as film:
        assert (film.tags.matrix, film.tags.primaries, film.tags.transfer) == (2, 2, 2)


# NUT leaves the shape of the pixels to the codec, and these say nothing of it.
SHAPELESS = [("nut", "vp9"), ("nut", "ffv1")]
SHAPED = [(each, codec) for each in CONTAINERS for codec in CODECS if codec in CONTAINERS[each]]
FFPROBE = ("ffprobe", "apt-get install ffmpeg")


def shape_of(path: Path) -> str:
    """The shape of a film's pixels, in the words of ffprobe."""
    entries = ("-select_streams", "v:0", "-show_entries", "stream=sample_aspect_ratio", "-of", "csv=p=0")
    command = [program(*FFPROBE), "-v", "error", *entries, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A film with the pixels of QCIF on a television, and sound."""
    path = tmp_path / "wide.nut"  # which says it exactly
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=176x144:r=25,setsar=r=128/117:max=1000,format=yuv420p"),
        *("-f", "lavfi", "-i", "sine", "-frames:v", 5, "-shortest", *LOSSLESS, "-c:a", "libopus", path),
    )
    return path


@pytest.mark.parametrize(("container", "codec"), [each for each in SHAPED if each not in SHAPELESS])
def test_sample_aspect_survives(wide: Path, tmp_path: Path, container: str, codec: str) -> None:
    target = tmp_path / "out"
    notices = copy(wide, target, codec=codec, format=container)
    assert not any("shape" in notice for notice in notices)
    assert shape_of(target).split()[0] == "128:117"  # of MPEG-TS it is said twice
    with open_film(wide) as before, open_film(target) as after:
        assert after.source.sample_aspect == before.source.sample_aspect == (128, 117)
        assert len(list(after)) == 5


@pytest.mark.parametrize(("container", "codec"), SHAPELESS)
def test_sample_aspect_that_is_lost_is_told(wide: Path, tmp_path: Path, container: str, codec: str) -> None:
    notices = copy(wide, tmp_path / "out", codec=codec, format=container)
    assert any("shape of pixels" in notice for notice in notices)
    assert shape_of(tmp_path / "out") == "N/A"


@pytest.mark.parametrize("container", ["matroska", "webm"])
def test_a_header_with_the_sample_aspect_is_whole(wide: Path, tmp_path: Path, container: str) -> None:
    """It has the checksum that FFmpeg writes into Matroska's, nothing is moved, and the file can be gone through."""
    target = tmp_path / "out"
    copy(wide, target, codec="vp9", format=container)
    data = target.read_bytes()
    assert ROOM.encode() not in data
    tracks = data[data.index(TRACKS, data.index(b"Lavf")) + len(TRACKS) :]  # the first mention is an index
    length = 9 - tracks[0].bit_length()
    size = int.from_bytes(tracks[:length]) & ~(1 << 7 * length)
    content = tracks[length:][:size]
    if container == "matroska":
        assert content[:2] == CHECKSUM + b"\x84"
        assert int.from_bytes(content[2:6], "little") == zlib.crc32(content[6:])
    assert ffmpeg("-xerror", "-err_detect", "crccheck+bitstream", "-i", target, "-f", "null", "-") == b""
    with av.open(str(target)) as film:
        film.seek(100_000)
        assert next(film.decode(video=0)).width == 176
        assert film.streams.video[0].metadata.get("title") is None


@pytest.mark.parametrize("seekable", [False, True])
def test_sample_aspect_survives_in_file_objects(wide: Path, tmp_path: Path, seekable: bool) -> None:
    class Once(io.BytesIO):
        def seekable(self) -> bool:
            return seekable

    file = Once()
    with open_film(wide) as film, FilmOut(file, like=film, codec="ffv1", format="matroska") as out:
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    (tmp_path / "out.mkv").write_bytes(file.getvalue())
    assert shape_of(tmp_path / "out.mkv") == "128:117"


def test_sample_aspect_and_rotation_survive_together(tmp_path: Path) -> None:
    plain, turned, target = tmp_path / "plain.mp4", tmp_path / "turned.mp4", tmp_path / "out.mkv"
    ffmpeg(*pattern(filters="setsar=16/15"), "-c:v", "libx264", plain)
    ffmpeg("-display_rotation", -90, "-i", plain, "-c", "copy", turned)
    assert copy(turned, target, codec="ffv1") == []
    with open_film(target) as film:
        assert (film.source.sample_aspect, film.source.rotation) == ((16, 15), 90)


def test_a_header_in_pieces_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        Shape(4, 3).into(TRACKS + b"\x01\x00\x00\x00\x00\x00\x0f\xff" + ROOM.encode())
    assert Shape(4, 3).into(TRACKS + b"\x81\x00") == TRACKS + b"\x81\x00"


@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_survives(tmp_path: Path, degrees: int, extension: str) -> None:
    plain, turned, target = tmp_path / "plain.mp4", tmp_path / "turned.mp4", tmp_path / f"out.{extension}"
    ffmpeg(*pattern(), "-c:v", "libx264", plain)
    ffmpeg("-display_rotation", -degrees, "-i", plain, "-c", "copy", turned)
    assert copy(turned, target) == []
    with open_film(target) as film:
        assert film.source.rotation == degrees


def test_rotation_that_is_lost_is_told(tmp_path: Path) -> None:
    ffmpeg(*pattern(), "-c:v", "libx264", tmp_path / "plain.mp4")
    ffmpeg("-display_rotation", 90, "-i", tmp_path / "plain.mp4", "-c", "copy", tmp_path / "turned.mp4")
    assert any("turned" in notice for notice in copy(tmp_path / "turned.mp4", tmp_path / "out.ts"))


@pytest.mark.parametrize("size", [(17, 31), (16, 31), (1, 1)])
@pytest.mark.parametrize(("codec", "extension"), [("h264", "mp4"), ("vp9", "webm"), ("ffv1", "mkv")])
def test_odd_sizes_are_kept(tmp_path: Path, size: tuple[int, int], codec: str, extension: str) -> None:
    source, target = tmp_path / "source.mkv", tmp_path / f"out.{extension}"
    ffmpeg(*pattern(filters=f"scale={size[0]}:{size[1]},format=yuv420p"), *LOSSLESS, source)
    notices = copy(source, target, codec=codec, crf=0 if codec == "h264" else None)
    assert any("4:4:4" in notice for notice in notices) == (codec == "h264")
    with av.open(str(target)) as container:
        frames = list(container.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [size] * 5
    luma = size[0] * size[1]
    with open_film(source) as before, open_film(target) as after:
        for one, other in zip(before, after, strict=True):
            difference = np.abs(one.buffer.astype(int) - other.buffer)
            assert difference[:luma].max() <= (0 if codec != "vp9" else 60)
            assert difference[luma:].mean() < 12  # chroma was made larger and smaller again


def test_a_size_that_the_codec_refuses_is_told(tmp_path: Path) -> None:
    ffmpeg(*pattern(filters="scale=2:2"), *LOSSLESS, tmp_path / "source.mkv")
    with pytest.raises(MediaError, match="cannot be written with libx265 at 2x2"):
        copy(tmp_path / "source.mkv", tmp_path / "out.mp4", codec="hevc")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("stored", ["gray", "bgr0"])
def test_gray_and_rgb_stay_lossless_in_ffv1(tmp_path: Path, stored: str) -> None:
    source, target = tmp_path / "source.mkv", tmp_path / "out.mkv"
    ffmpeg(*pattern(filters=f"format={stored}"), *LOSSLESS, source)
    copy(source, target, codec="ffv1")
    assert samples(target) == samples(source)


def test_gray_becomes_yuv_of_the_same_luma(tmp_path: Path) -> None:
    source, target = tmp_path / "source.mkv", tmp_path / "out.mp4"
    ffmpeg(*pattern(filters="format=gray"), *LOSSLESS, source)
    copy(source, target, crf=0)
    before = np.frombuffer(samples(source), np.uint8).reshape(5, -1)
    after = np.frombuffer(samples(target), np.uint8).reshape(5, -1)
    np.testing.assert_array_equal(after[:, : 32 * 24], before)
    assert set(after[:, 32 * 24 :].ravel().tolist()) == {128}


@pytest.mark.parametrize(("height", "matrix"), [(24, "bt601"), (720, "bt709")])
def test_rgb_becomes_yuv_with_the_matrix_that_is_tagged(tmp_path: Path, height: int, matrix: str) -> None:
    source, target = tmp_path / "source.mkv", tmp_path / "out.mp4"
    ffmpeg("-f", "lavfi", "-i", f"color=c=0x20C040:s=32x{height}:r=25,format=bgr0", "-frames:v", 1, *LOSSLESS, source)
    copy(source, target, crf=0)
    with open_film(target) as film:
        (frame,) = film
        assert (film.source.colour.matrix, film.source.colour.full_range) == (matrix, False)
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    luma = (red * 0x20 + (1 - red - blue) * 0xC0 + blue * 0x40) * 219 / 255 + 16
    assert abs(int(frame.buffer[0]) - luma) <= 1


@pytest.fixture
def with_sound(tmp_path: Path) -> Path:
    """Pictures, 5.1 sound in one language, stereo in another, subtitles, and sound that goes on after the pictures."""
    subtitles = tmp_path / "subtitles.srt"
    subtitles.write_text("1\n00:00:00,100 --> 00:00:00,900\nHallo\n\n2\n00:00:01,000 --> 00:00:01,300\nWelt\n")
    path = tmp_path / "with_sound.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=32x24:r=25:d=2", "-f", "lavfi", "-i", "sine=d=3", "-i", subtitles),
        *("-map", 0, "-map", 1, "-map", 1, "-map", 2, "-c:v", "libx264", "-c:a", "aac", "-ac:a:0", 6, "-ac:a:1", 2),
        *("-metadata:s:a:0", "language=ger", "-metadata:s:a:1", "language=fre", "-metadata", "title=Grün", path),
    )
    return path


def test_sound_and_subtitles_are_copied_as_they_are(with_sound: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    assert copy(with_sound, target) == []
    assert streams(target, "audio") == streams(with_sound, "audio")
    assert streams(target, "subtitle") == streams(with_sound, "subtitle")
    assert [stream.language for stream in streams(target, "audio")] == ["ger", "fre"]
    with av.open(str(target)) as container:
        assert container.metadata["title"] == "Grün"


def test_a_stream_that_the_container_cannot_hold_is_named(with_sound: Path, tmp_path: Path) -> None:
    notices = copy(with_sound, tmp_path / "out.mp4")
    assert len(notices) == 1
    assert notices[0].startswith("Stream 3 (subtitle")
    before, after = streams(with_sound, "audio"), streams(tmp_path / "out.mp4", "audio")
    assert [stream.packets for stream in after] == [stream.packets for stream in before]


@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv", "webm", "nut", "ts"])
@pytest.mark.parametrize("sound", ["aac", "libmp3lame", "flac", "libopus", "libvorbis", "pcm_s16le", "adpcm_ms"])
def test_no_kind_of_sound_stops_the_film(tmp_path: Path, sound: str, extension: str) -> None:
    source, target = tmp_path / "source.mkv", tmp_path / f"out.{extension}"
    ffmpeg(*("-f", "lavfi", "-i", "sine=d=0.4:r=48000"), *pattern(), *LOSSLESS, "-c:a", sound, "-strict", -2, source)
    notices = copy(source, target, codec="vp9" if extension == "webm" else "h264")
    assert len(streams(target, "audio")) + len(notices) == 1
    assert len(shown(target)) == 5


def test_sound_of_a_transport_stream_goes_into_mp4(with_sound: Path, tmp_path: Path) -> None:
    copy(with_sound, tmp_path / "one.ts")
    copy(tmp_path / "one.ts", tmp_path / "two.mp4")
    before, after = streams(with_sound, "audio"), streams(tmp_path / "two.mp4", "audio")
    assert [stream.packets for stream in after] == [stream.packets for stream in before]
    assert shown(tmp_path / "two.mp4") == shown(tmp_path / "one.ts")


def test_sound_is_written_beside_the_pictures_of_its_time(with_sound: Path, tmp_path: Path) -> None:
    """Even where reading is ahead of writing, as it is with frames in flight."""
    target = tmp_path / "out.nut"
    with open_film(with_sound) as film, FilmOut(target, like=film) as out:
        for frame in list(film):
            out.write(frame.pts, frame.duration, frame.buffer)
    with av.open(str(target)) as container:
        order = [(packet.stream_index, packet.pts * packet.time_base) for packet in container.demux() if packet.pts]
    latest = {0: Fraction(0), 1: Fraction(0)}
    for index, time_s in order:
        latest[index] = time_s
        if index == 0:
            assert abs(latest[0] - latest[1]) < Fraction(1, 4)


def test_ends_in_a_playable_file_on_ctrl_c(with_sound: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        copy_interrupted(with_sound, target, after=20)
    assert len(shown(target)) == 20
    assert all(0.5 < stream.times[-1] < 0.9 for stream in streams(target, "audio"))


def test_the_index_of_an_mp4_comes_first(clip: Path, tmp_path: Path) -> None:
    copy(clip, tmp_path / "out.mp4")
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")


def copy_interrupted(source: Path, target: Path, *, after: int) -> None:
    with open_film(source) as film, FilmOut(target, like=film) as out:
        for number, frame in enumerate(film):
            if number == after:
                raise KeyboardInterrupt
            out.write(frame.pts, frame.duration, frame.buffer)


@pytest.mark.parametrize("container", ["nut", "mpegts", "matroska", "mp4"])
def test_writes_to_a_pipe(clip: Path, container: str) -> None:
    reading, writing = os.pipe()
    chunks: list[bytes] = []

    def drain() -> None:
        while data := os.read(reading, 65536):
            chunks.append(data)

    thread = threading.Thread(target=drain)
    thread.start()
    with open(writing, "wb") as pipe, open_film(clip) as film, FilmOut(pipe, like=film, format=container) as out:  # noqa: PTH123
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    thread.join(timeout=10)
    os.close(reading)
    with av.open(io.BytesIO(b"".join(chunks)), "r") as written:
        assert len(list(written.decode(video=0))) == 5


def test_a_pipe_gets_each_frame_at_once(clip: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(writing, "wb") as pipe, open_film(clip) as film, FilmOut(pipe, like=film, format="nut") as out:  # noqa: PTH123
        os.read(reading, 65536)  # the header
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
            assert os.read(reading, 65536)  # or it would raise BlockingIOError
    os.close(reading)


@pytest.mark.parametrize("container", ["nut", "mpegts", "matroska"])
def test_a_pipe_waits_no_longer_than_a_frame_for_sound_and_subtitles(with_sound: Path, container: str) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with (
        open_film(with_sound, end_s=0.8) as film,
        open(writing, "wb") as pipe,  # noqa: PTH123
        FilmOut(pipe, like=film, format=container) as out,
    ):
        frames = list(film)
        out.write(frames[0].pts, frames[0].duration, frames[0].buffer)
        for frame in frames[1:]:
            out.write(frame.pts, frame.duration, frame.buffer)
            assert os.read(reading, 65536)
    os.close(reading)


def test_a_named_pipe_is_written_as_a_pipe(clip: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    command = ["cat", str(tmp_path / "pipe.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
        copy(clip, tmp_path / "pipe.mp4")
        data = reader.communicate(timeout=10)[0]
    with av.open(io.BytesIO(data), "r") as written:
        assert len(list(written.decode(video=0))) == 5


def test_writes_to_a_file_object(clip: Path) -> None:
    file = io.BytesIO()
    with open_film(clip) as film, FilmOut(file, like=film, format="mp4", crf=0) as out:
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    with open_film(io.BytesIO(file.getvalue())) as film:
        assert b"".join(frame.buffer.tobytes() for frame in film) == samples(clip)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "nut"])
@pytest.mark.parametrize("by_path", [True, False])
def test_a_full_disk_is_told(clip: Path, container: str, by_path: bool) -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(MediaError, match=r"/dev/full.*No space left"):  # noqa: PTH123
        fill(clip, Path("/dev/full") if by_path else full, container)


def fill(source: Path, target: FileLike, container: str) -> None:
    with open_film(source) as film, FilmOut(target, like=film, format=container) as out:
        for frame in film:
            for repeat in range(100):
                out.write(frame.pts * 100 + repeat, 1, frame.buffer)


class SmallDisk(io.BytesIO):
    """Takes so many bytes, and no more."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.tell() + len(data) > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("container", ["matroska", "mpegts", "nut"])
def test_what_was_written_before_the_disk_was_full_plays(with_sound: Path, container: str) -> None:
    disk = SmallDisk()
    with open_film(with_sound) as film, pytest.raises(MediaError, match="No space left"):
        write_noise(film, disk, container)
    with av.open(io.BytesIO(disk.getvalue()), "r") as written:
        assert len(list(written.decode(video=0))) > 20


def write_noise(film: Film, disk: SmallDisk, container: str) -> None:
    """Pictures that are hard to compress."""
    random = np.random.default_rng(2)
    with FilmOut(disk, like=film, format=container) as out:
        for frame in film:
            for repeat in range(10):
                noise = random.integers(0, 256, frame.buffer.size, np.uint8)
                out.write(frame.pts + 4 * repeat, 4, noise)


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("missing/out.mp4", {}, "cannot be written: No such file"),
        ("out.xyz", {}, "films are written as .mp4"),
        ("out", {}, "films are written as .mp4"),
        ("out.webm", {}, "webm does not hold h264, only vp9, av1"),
        ("out.mp4", {"codec": "ffv1"}, "mp4 does not hold ffv1"),
        ("out.mp4", {"codec": "divx"}, "no codec 'divx'"),
        ("out.mp4", {"crf": 99}, "from 0 to 51, and is 99"),
        ("out.mkv", {"codec": "ffv1", "crf": 5}, "lossless"),
        ("out.mp4", {"format": "wmv"}, "no container 'wmv'"),
        ("clip.mkv", {}, "is the input"),
        ("../{}/clip.mkv", {}, "is the input"),
    ],
)
def test_what_cannot_be_written_is_refused(
    clip: Path, tmp_path: Path, name: str, options: dict[str, object], why: str
) -> None:
    before = clip.read_bytes()
    with pytest.raises(MediaError, match=why):
        copy(clip, tmp_path / name.format(tmp_path.name), **options)
    assert clip.read_bytes() == before
    assert list(tmp_path.iterdir()) == [clip]


def test_a_frame_of_another_size_is_refused(clip: Path, tmp_path: Path) -> None:
    with (
        open_film(clip) as film,
        FilmOut(tmp_path / "out.mp4", like=film) as out,
        pytest.raises(MediaError, match="has 1152 bytes, not 100"),
    ):
        out.write(0, 1, np.zeros(100, np.uint8))


def test_frames_may_have_another_size_than_the_source(clip: Path, tmp_path: Path) -> None:
    with open_film(clip) as film, FilmOut(tmp_path / "out.mp4", like=film, width=64, height=24) as out:
        for frame in film:
            out.write(frame.pts, frame.duration, np.zeros(64 * 24 * 3 // 2, np.uint8))
    with open_film(tmp_path / "out.mp4") as film:
        assert (film.source.width, film.source.height) == (64, 24)


def test_create_film_knows_folders_from_files(clip: Path, tmp_path: Path) -> None:
    with open_film(clip) as film:
        assert isinstance(create_film(tmp_path / "pictures", like=film), PictureFolderOut)
        with create_film(tmp_path / "out.mp4", like=film) as out:
            assert isinstance(out, FilmOut)


def test_an_extract_is_written_with_its_sound_from_zero(with_sound: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with open_film(with_sound, start_s=0.5, end_s=1.5) as film, FilmOut(target, like=film) as out:
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    assert shown(target) == [Fraction(number, 25) for number in range(25)]
    for stream in streams(target, "audio"):
        assert 0 <= stream.times[0] < 0.03
        assert 0.95 < stream.times[-1] < 1
