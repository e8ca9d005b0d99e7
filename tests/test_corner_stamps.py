"""The numbers that the latency bench knows frames by: they survive coding, and a live session's warping."""

from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from support.clips import frames
from support.corner_stamps import HEIGHT, NUMBERS, WIDTH, read_stamp, stamp
from support.daemon import Daemon
from warpaint.client.painting import Client

SIZE = (640, 360)
PATIENT_MS = 10_000.0


def stamped(number: int, picture: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    made = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8) if picture is None else picture.copy()
    stamp(made, number)
    return made


@pytest.mark.parametrize("number", [0, 1, 1365, 2730, NUMBERS - 1])
def test_a_number_is_read_again(number: int) -> None:
    picture = stamped(number)
    assert read_stamp(picture) == number
    assert read_stamp(picture[..., 0]) == number
    assert read_stamp(stamped(number + NUMBERS)) == number


def test_the_rest_of_the_picture_stays() -> None:
    picture = stamped(5)
    picture[:HEIGHT, :WIDTH] = 128
    assert (picture == 128).all()


def test_what_is_no_stamp_is_not_read() -> None:
    assert read_stamp(np.full((SIZE[1], SIZE[0]), 128, np.uint8)) is None
    assert read_stamp(next(frames("bikes", SIZE))) is None
    mixed = cv2.addWeighted(stamped(0b0110), 0.5, stamped(0b1001), 0.5, 0)
    assert read_stamp(mixed) is None


def test_it_survives_jpeg_and_h264_of_little_quality() -> None:
    pictures = [stamped(97 * number, picture) for number, picture in enumerate(frames("bikes", SIZE, stop=10))]
    for number, picture in enumerate(pictures):
        jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
        assert read_stamp(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) == 97 * number
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *SIZE, "yuv420p", Fraction(1, 30)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "40"}
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_type = "SLICE"
    packets = [packet for each in pictures for packet in encoder.encode(av.VideoFrame.from_ndarray(each, "bgr24"))]
    decoded = [frame for packet in packets for frame in decoder.decode(av.Packet(bytes(packet)))]
    assert [read_stamp(frame.to_ndarray(format="gray")) for frame in decoded] == [97 * n for n in range(10)]


@pytest.mark.timing
def test_it_is_seen_in_its_own_frame_when_a_live_session_warps(shared_daemon: Daemon) -> None:
    pictures = list(frames("bikes", SIZE, stop=40))
    read = []
    with (
        Client(shared_daemon.address) as client,
        client.session(pacing="live", painter="identity", max_delay_ms=PATIENT_MS) as session,
    ):
        for number, picture in enumerate(pictures):
            session.push(stamped(number, picture), 33 * number)
            [painted] = session.results()
            read.append((number, read_stamp(painted.image), painted.info.provenance.value))
    assert [number for number, seen, _ in read if seen not in (number, None)] == []
    assert sum(seen == number for number, seen, _ in read) >= 38
    assert sum(provenance in ("warped", "filled") for _, _, provenance in read) > 30
