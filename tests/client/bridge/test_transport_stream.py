"""Pictures out of MPEG-TS as soon as they are whole, of streams that a real ffmpeg has multiplexed."""

import io
import subprocess
from collections.abc import Iterator
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warpaint.client.bridge.early import EarlyPictures
from warpaint.client.bridge.transport_stream import PACKET, TransportStream, Unit

FRAMES = 40
# How ffmpeg is asked for a stream, and whether the lengths of pictures are in it.
PLAIN, BOUNDED = (), ("-omit_video_pes_length", "0")
ULTRAFAST = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10")
CODERS = {
    "h264": ULTRAFAST,
    "h264-with-b-frames": ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "10"),
    "h264-in-slices": (*ULTRAFAST, "-slices", "4"),
    "hevc": ("-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-x265-params", "log-level=none"),
}


def made(ffmpeg: str, coder: str, *flags: str, size: str = "320x192") -> bytes:
    command = [
        *(ffmpeg, "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-f", "lavfi", "-i", "sine"),
        *("-frames:v", str(FRAMES), "-shortest", *CODERS[coder], "-c:a", "aac", "-f", "mpegts", *flags, "-"),
    ]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module", params=[(coder, flags) for coder in CODERS for flags in (PLAIN, BOUNDED)], ids=str)
def stream(request: pytest.FixtureRequest, ffmpeg: str) -> bytes:
    coder, flags = request.param
    return made(ffmpeg, coder, *flags)


@pytest.fixture(scope="module")
def plain(ffmpeg: str) -> bytes:
    return made(ffmpeg, "h264")


def video(data: bytes) -> tuple[int, list[tuple[int | None, bytes]]]:
    """What FFmpeg's demuxer makes of it: the packets' identifier, and each picture's time and bytes."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        return stream.id, [(packet.pts, bytes(packet)) for packet in container.demux(stream) if packet.size]


def units(pid: int, data: bytes, step: int = 1_000) -> Iterator[tuple[int, Unit]]:
    """Each unit, and how many bytes had come when it was given."""
    reader = TransportStream(pid)
    for at in range(0, len(data), step):
        for unit in reader.feed(data[at : at + step]):
            yield at + step, unit
    for unit in reader.end():
        yield len(data), unit


def test_units_are_what_ffmpeg_finds(stream: bytes) -> None:
    pid, expected = video(stream)
    found = [(unit.pts, unit.data) for _, unit in units(pid, stream)]
    assert found == expected


def test_a_unit_is_there_when_its_last_packet_is(stream: bytes) -> None:
    pid, expected = video(stream)
    begins = [
        at
        for at in range(0, len(stream), PACKET)
        if (stream[at + 1] & 0x1F) << 8 | stream[at + 2] == pid and stream[at + 1] & 0x40
    ]
    given_at = [at for at, _ in units(pid, stream, PACKET)]
    assert len(given_at) == len(expected) == FRAMES
    waited = [at > next_begins for at, next_begins in zip(given_at, begins[1:], strict=False)]
    assert sum(waited) <= 2  # of 184 pictures without a length one ends with its packet, and is not filled up


@pytest.mark.parametrize("step", [1, 7, 187, 188, 189, 1316, 65_536])
def test_bytes_come_in_any_pieces(plain: bytes, step: int) -> None:
    pid, expected = video(plain)
    assert [unit.data for _, unit in units(pid, plain, step)] == [data for _, data in expected]


def test_what_comes_before_the_first_packet_is_passed_over(plain: bytes) -> None:
    pid, expected = video(plain)
    found = [unit.data for _, unit in units(pid, b"\x47garbage\x47" + plain)]
    assert found == [data for _, data in expected]


def test_a_packet_that_is_sent_twice_counts_once(plain: bytes) -> None:
    pid, expected = video(plain)
    packets = [plain[at : at + PACKET] for at in range(0, len(plain), PACKET)]
    twice = b"".join(packet + (packet if number % 3 == 0 else b"") for number, packet in enumerate(packets))
    assert [unit.data for _, unit in units(pid, twice)] == [data for _, data in expected]


def test_a_lost_packet_costs_its_picture_alone(plain: bytes) -> None:
    pid, expected = video(plain)
    lost = plain[: 40 * PACKET] + plain[41 * PACKET :]
    found = [unit.data for _, unit in units(pid, lost)]
    missing = [number for number, (_, data) in enumerate(expected) if data not in found]
    assert len(missing) <= 2  # it may have been the end of one


def test_stuffing_in_the_middle_is_noticed_and_costs_one_picture(plain: bytes) -> None:
    pid, expected = video(plain)
    packets = [plain[at : at + PACKET] for at in range(0, len(plain), PACKET)]
    spread = b"".join(each for packet in packets for each in _stuffed(packet, pid))
    found = [unit.data for _, unit in units(pid, spread)]
    assert sum(data in found for _, data in expected) >= FRAMES - 1
    assert b"".join(found) == b"".join(data for _, data in expected)


def _stuffed(packet: bytes, pid: int) -> list[bytes]:
    """The packet as two, the first of them filled up with stuffing; one that has no room, or is of sound, as it is."""
    if (packet[1] & 0x1F) << 8 | packet[2] != pid or packet[3] & 0x30 != 0x10 or packet[1] & 0x40:
        return [_renumbered(packet, 2 * (packet[3] & 15), pid)]
    head, payload = packet[:3], packet[4:]
    counter = 2 * (packet[3] & 15)
    first, second = payload[:100], payload[100:]
    return [
        head + bytes([0x30 | number & 15, PACKET - 5 - len(part), 0]) + b"\xff" * (PACKET - 6 - len(part)) + part
        for number, part in ((counter, first), (counter + 1, second))
    ]


def _renumbered(packet: bytes, counter: int, pid: int) -> bytes:
    if (packet[1] & 0x1F) << 8 | packet[2] != pid:
        return packet
    return packet[:3] + bytes([packet[3] & 0xF0 | counter & 15]) + packet[4:]


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=2_000), st.integers(0, 0x1FFF), st.integers(1, 500))
def test_garbage_ends_nothing(data: bytes, pid: int, step: int) -> None:
    for _ in units(pid, data, step):
        pass


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_damage_ends_nothing(data: st.DataObject) -> None:
    packet = bytearray(b"\x47\x41\x00\x30\x07\x10" + bytes(6) + b"\0\0\1\xe0\0\0\x80\x80\x05\x21\0\1\0\1" + bytes(162))
    for _ in range(data.draw(st.integers(1, 20))):
        packet[data.draw(st.integers(0, PACKET - 1))] = data.draw(st.integers(0, 255))
    for _ in units(0x100, bytes(packet) * 3):
        pass


def decoded(data: bytes) -> tuple[list[Any], list[Any]]:
    """The pictures, as FFmpeg's demuxer gives them to its decoder, and early: times and lumas."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        early = EarlyPictures(stream)
        expected = [(frame.pts, frame.to_ndarray()[: frame.height].tobytes()) for frame in container.decode(stream)]
    frames = [frame for at in range(0, len(data), 1_316) for frame in early.feed(data[at : at + 1_316])] + early.end()
    assert early.damaged == 0
    return expected, [(frame.pts, frame.to_ndarray()[: frame.height].tobytes()) for frame in frames]


def test_early_pictures_are_the_same(stream: bytes) -> None:
    expected, early = decoded(stream)
    assert len(early) == FRAMES
    assert early == expected


@pytest.mark.parametrize("begin_s", ["95442.7", "95443.0"])
def test_times_go_on_where_the_clock_of_a_day_begins_anew(ffmpeg: str, begin_s: str) -> None:
    expected, early = decoded(made(ffmpeg, "h264", "-output_ts_offset", begin_s))
    assert early == expected
    assert len({pts for pts, _ in early}) == FRAMES
