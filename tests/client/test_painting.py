"""The Python client against a real daemon: frames in, paintings out, and what is said when something is wrong."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from support.daemon import Daemon, daemon
from support.scenes import film, two_layers
from warpaint.client import connection
from warpaint.client.errors import DaemonGone, FrameFailed
from warpaint.client.images import control_payloads
from warpaint.client.painting import Client, PaintedImage, Session
from warpaint.proto.errors import Code, InvalidMessage, RefusedError
from warpaint.proto.messages import Provenance, Result, Source

SIZE = (64, 48)
FAILING = "painters_under_test:FailsNow"
HAPPENED_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def frames() -> list[NDArray[np.uint8]]:
    """Ten frames [48, 64, 3] of things that move."""
    return film(two_layers(SIZE), 10, SIZE)


@pytest.fixture
def client(shared_daemon: Daemon) -> Iterator[Client]:
    with Client(shared_daemon.address) as connected:
        yield connected


@pytest.fixture(scope="module")
def failing_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose painter fails every third time."""
    with daemon(tmp_path_factory.mktemp("failing"), "--painters", FAILING, "--flows", "none") as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that gives a daemon up soon."""
    monkeypatch.setattr(connection, "SILENCE_S", 0.1)
    monkeypatch.setattr(connection, "PATIENCE_S", 0.5)


def happens(condition: Callable[[], bool]) -> bool:
    """Whether something that another process does happens in time."""
    deadline = time.monotonic() + HAPPENED_WITHIN_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


# As in the README


def test_paints_frames(shared_daemon: Daemon, frames: list[NDArray[np.uint8]]) -> None:
    with Client(shared_daemon.address) as client, client.session(look="poster") as session:
        painted = list(session.paint(frames))
    assert [each.index for each in painted] == list(range(10))
    assert [each.pts for each in painted] == [Fraction(number, 25) for number in range(10)]
    assert {(each.image.shape, each.image.dtype) for each in painted} == {((48, 64, 3), np.dtype(np.uint8))}
    assert painted[0].info.provenance is Provenance.PAINTED
    assert {each.info.provenance for each in painted[1:4]} <= {Provenance.WARPED, Provenance.FILLED}
    assert all(np.abs(each.image.astype(int) - frame).mean() > 3 for each, frame in zip(painted, frames, strict=True))
    totals = session.totals
    assert totals is not None
    assert (totals.received, totals.painted, totals.failed, totals.dropped) == (10, 10, 0, 0)


def test_frames_may_be_made_one_by_one(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    """More than the daemon takes at once, from a generator, and left before the end."""
    endless = (frames[number % 10] for number in range(10_000))
    with client.session(painter="identity", flow="none") as session:
        for painted in session.paint(endless, rate=50):
            np.testing.assert_array_equal(painted.image, frames[painted.index % 10])
            if painted.index == 30:
                break
    assert painted.pts == Fraction(30, 50)
    assert session.totals is not None
    assert 31 <= session.totals.painted < 100


def test_push_and_results(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with client.session(painter="identity", flow="none") as session:
        assert list(session.results()) == []
        assert [session.push(frame, 40 * number) for number, frame in enumerate(frames[:3])] == [0, 1, 2]
        painted = list(session.results())
        assert [each.pts for each in painted] == [0, Fraction(40, 1000), Fraction(80, 1000)]
        assert session.unanswered == 0
        session.push(frames[3], 120)
        session.flush()
        assert [each.index for each in session.results(wait=False)] == [3]


def test_a_view_of_an_array_is_sent_as_it_looks(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    flipped = frames[0][::-1, :, ::-1]
    with client.session(painter="identity", flow="none") as session:
        [painted] = session.paint([flipped])
    np.testing.assert_array_equal(painted.image, flipped)


@pytest.mark.parametrize(
    ("pixels", "shape"), [("rgb24", (48, 64, 3)), ("bgra", (48, 64, 4)), ("gray", (48, 64)), ("yuv420p", (4608,))]
)
def test_other_formats(client: Client, pixels: Any, shape: tuple[int, ...]) -> None:
    frame = np.full(shape, 128, np.uint8)
    if pixels == "bgra":
        frame[..., 3] = 255
    source = Source(width=64, height=48, pixels=pixels, time_base=(1, 25))
    with client.session(source=source, painter="identity", flow="none") as session:
        session.push(frame, 7)
        [painted] = session.results()
    assert painted.pts == Fraction(7, 25)
    assert painted.image.shape == shape
    assert np.abs(painted.image.astype(int) - frame).max() <= 1


def test_results_may_be_coded(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with client.session(result=Result(encoding="jpeg"), painter="identity", flow="none") as session:
        [painted] = session.paint(frames[:1])
    assert painted.image[:2].tobytes() == b"\xff\xd8"


def test_sessions_beside_each_other(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with (
        client.session(painter="identity", flow="none") as plain,
        client.session(look="poster", flow="none") as poster,
    ):
        for number in range(3):
            plain.push(frames[number], number)
            poster.push(frames[-1], number)
        [*plainly], [*posters] = plain.results(), poster.results()
    assert [each.index for each in plainly] == [each.index for each in posters] == [0, 1, 2]
    np.testing.assert_array_equal(plainly[2].image, frames[2])
    assert np.abs(posters[2].image.astype(int) - frames[-1]).mean() > 3


# Maps


def test_maps_are_arrays(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with client.session(look="poster", maps=("flow", "confidence", "hops", "holes")) as session:
        painted = list(session.paint(frames[:4]))
        assert session.opened is not None
        size = (session.opened.height, session.opened.width)
    for each in painted:
        assert {name: (array.shape, array.dtype.name) for name, array in each.maps.items()} == {
            "flow": ((*size, 2), "float32"),
            "confidence": (size, "float32"),
            "hops": (size, "uint8"),
            "holes": (size, "uint8"),
        }
    assert not painted[0].maps["flow"].any()
    last = painted[3].maps
    assert last["flow"].any()
    assert 0 <= last["confidence"].min() <= last["confidence"].max() <= 1
    assert last["holes"].mean() == pytest.approx(painted[3].info.holes)


def test_without_asking_there_are_no_maps(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with client.session(look="poster") as session:
        assert [each.maps for each in session.paint(frames[:2])] == [{}, {}]


# Changes


def test_an_update_shows_at_a_frame(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with client.session(look="poster") as session:
        before = [painted_one(session, frame, number) for number, frame in enumerate(frames[:3])]
        request = session.update(look="ink", strength=1.0)
        assert session.shown_at(request) is None
        after = [painted_one(session, frame, number) for number, frame in enumerate(frames[:3], start=3)]
        session.flush()
        assert session.shown_at(request) == 3
    assert {each.info.epoch for each in before} == {0}
    assert {each.info.epoch for each in after} == {1}
    assert after[0].info.provenance is Provenance.PAINTED
    assert np.abs(after[0].image.astype(int) - before[0].image).mean() > 10


def painted_one(session: Session, frame: NDArray[np.uint8], pts: int) -> PaintedImage:
    session.push(frame, pts)
    [painted] = session.results()
    return painted


def test_a_rekey_is_a_keyframe(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with client.session(look="poster") as session:
        first, second = (painted_one(session, frames[0], number) for number in range(2))
        request = session.rekey()
        third = painted_one(session, frames[0], 2)
        session.flush()
        assert session.shown_at(request) == 2
        assert session.opened is not None
        canvas = session.opened.width * session.opened.height
    assert [each.info.painted_pixels for each in (first, second, third)] == [canvas, 0, canvas]


def test_a_list_may_be_a_list_or_a_tuple(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with client.session(look="poster", loras=["ink"], tag_block=("text",)) as session:
        painted_one(session, frames[0], 0)
        assert session.brief.loras == ("ink",)
        for loras in ([], ["ink:0.5", "lcm"], ("lcm",)):
            session.update(loras=loras)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"look": "nonsense"}, "poster"),
        ({"strength": 2.0}, "less than or equal to 1"),
        ({"colour": "red"}, "colour"),
        ({"loras": ["ink:much"]}, "is not NAME or NAME:WEIGHT"),
    ],
)
def test_a_wrong_update_is_refused_and_nothing_else_happens(
    client: Client, frames: list[NDArray[np.uint8]], changes: dict[str, Any], told: str
) -> None:
    with client.session(look="poster") as session:
        painted_one(session, frames[0], 0)
        with pytest.raises(RefusedError, match=told) as caught:
            session.update(**changes)
        assert caught.value.code is Code.BAD_BRIEF
        assert painted_one(session, frames[1], 1).info.epoch == 0


# Wishes that cannot be met


@pytest.mark.parametrize("brief", [{"strength": 1.5}, {"colour": "red"}, {"look": 7}, {"seed": -1}])
def test_a_wrong_brief_is_told_before_anything_is_sent(client: Client, brief: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage, match=next(iter(brief))):
        client.session(**brief)


@pytest.mark.parametrize("wish", [{"max_pixels": 1}, {"painter": ""}, {"maps": ("depth",)}])
def test_a_wrong_opening_is_told_in_our_words(
    client: Client, frames: list[NDArray[np.uint8]], wish: dict[str, Any]
) -> None:
    with client.session(**wish) as session, pytest.raises(InvalidMessage, match=next(iter(wish))):
        session.push(frames[0], 0)


@pytest.mark.parametrize(
    ("wish", "code", "told"),
    [
        ({"look": "nonsense"}, Code.BAD_BRIEF, "poster"),
        ({"painter": "nobody"}, Code.UNKNOWN_ENGINE, "filters"),
        ({"flow": "nothing"}, Code.UNKNOWN_ENGINE, "dis"),
    ],
)
def test_what_the_daemon_refuses_it_says_with_what_is_allowed(
    client: Client, frames: list[NDArray[np.uint8]], wish: dict[str, Any], code: Code, told: str
) -> None:
    with client.session(**wish) as session, pytest.raises(RefusedError, match=told) as caught:
        session.push(frames[0], 0)
    assert caught.value.code is code
    with client.session(painter="identity", flow="none") as session:
        assert len(list(session.paint(frames[:2]))) == 2


# Frames that are none

GOOD = np.zeros((48, 64, 3), np.uint8)
NO_FRAMES = {
    "a list": GOOD.tolist(),
    "no channels": GOOD[..., 0],
    "four channels": np.zeros((48, 64, 4), np.uint8),
    "floats": GOOD.astype(np.float32),
    "signed": GOOD.astype(np.int8),
    "None": None,
}


@pytest.mark.parametrize("frame", NO_FRAMES.values(), ids=NO_FRAMES.keys())
@pytest.mark.parametrize("first", [True, False])
def test_a_frame_of_another_kind_is_a_value_error(client: Client, frame: Any, first: bool) -> None:
    """The first frame, and one of a session that is open already."""
    with client.session(painter="identity", flow="none") as session:
        if not first:
            painted_one(session, GOOD, 0)
        with pytest.raises(ValueError, match="uint8"):
            session.push(frame, 1)
        assert painted_one(session, GOOD, 2).image.shape == GOOD.shape


@pytest.mark.parametrize("shape", [(48, 63, 3), (96, 64, 3), (64, 48, 3)])
def test_a_frame_of_another_size_is_told(client: Client, shape: tuple[int, ...]) -> None:
    """Also where it has as many bytes as the others."""
    with client.session(painter="identity", flow="none") as session:
        painted_one(session, GOOD, 0)
        with pytest.raises((ValueError, RefusedError), match="64x48"):
            painted_one(session, np.zeros(shape, np.uint8), 1)
        assert painted_one(session, GOOD, 2).image.shape == GOOD.shape


# Control images


@pytest.mark.parametrize("pixels", ["bgr24", "gray"])
def test_control_images_go_with_a_frame(client: Client, pixels: Any) -> None:
    """In colour, in gray, and as views, whatever the format of the frames."""
    frame = GOOD if pixels == "bgr24" else GOOD[..., 0]
    source = Source(width=64, height=48, pixels=pixels)
    with client.session(painter="identity", flow="none", source=source) as session:
        session.push(frame, 0, {"depth": GOOD[..., 0], "pose": GOOD[::-1, ::-1]})
        session.push(frame, 40, controls={})
        assert [each.index for each in session.results()] == [0, 1]


def test_what_is_sent_of_a_control_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    sent = control_payloads({"a": image[..., 1], "b": image, "c": image[:, ::-1]}, Source(width=64, height=48))
    assert {kind: bytes(each) for kind, each in sent.items()} == {
        "a": np.dstack([image[..., 1]] * 3).tobytes(),
        "b": image.tobytes(),
        "c": image[:, ::-1].tobytes(),
    }


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        (
            {"depth": GOOD[:, :63]},
            r"'depth' must be uint8 \(48, 64, 3\), BGR, or \(48, 64\), gray.* \(got uint8 \(48, 63, 3\)\)",
        ),
        ({"depth": GOOD[..., :1]}, r"got uint8 \(48, 64, 1\)"),
        ({"depth": GOOD.reshape(-1)}, r"got uint8 \(9216,\)"),
        ({"depth": GOOD.astype(np.float32)}, r"got float32"),
        ({"depth": GOOD.tobytes()}, r"got bytes"),
        ({"depth": None}, r"got NoneType"),
        ({"": GOOD}, r"the kind of a control image is a text of 1 to 200 characters \(got ''\)"),
        ({7: GOOD}, r"got 7"),
        (dict.fromkeys("abcde", GOOD), r"at most 4 control images \(got 5\)"),
    ],
)
def test_what_is_no_control_image_is_a_value_error(client: Client, controls: Any, said: str) -> None:
    with client.session(painter="identity", flow="none") as session:
        with pytest.raises(ValueError, match=said):
            session.push(GOOD, 0, controls=controls)
        assert painted_one(session, GOOD, 1).index == 0


# Keyframes by hand


def test_marked_frames_are_painted_in_full(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with client.session(look="poster", keyframes="marked") as session:
        painted = list(session.paint(frames, keyframes={2, 5}))
        session.push(frames[0], 400, keyframe=True)
        painted += session.results()
    assert [each.index for each in painted if each.info.keyframe] == [0, 2, 5, 10]


def test_stills_are_seen_with_their_frames(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    stills = {number: 255 - frames[number] for number in (0, 6)}
    with client.session(painter="stills", keyframes="marked", fade_s=0.0) as session:
        painted = list(session.paint(frames, stills=stills))
    assert [each.index for each in painted if each.info.keyframe] == [0, 6]
    for number, still in stills.items():
        np.testing.assert_array_equal(painted[number].image, still)
    for each, frame in zip(painted, frames, strict=True):
        assert np.abs(each.image.astype(int) - (255 - frame)).mean() < 20
    assert not session.notices


def test_a_keyframe_without_its_still_is_noticed(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with client.session(painter="stills", keyframes="marked") as session:
        [painted] = session.paint(frames[:1])
    np.testing.assert_array_equal(painted.image, frames[0])
    assert [notice.code for notice in session.notices] == [Code.NO_STILL]


@pytest.mark.parametrize("pacing", ["every", "live"])
def test_a_still_of_another_size_is_told(client: Client, pacing: Any) -> None:
    wrong = {"still": GOOD[:, :63]}
    with (
        client.session(painter="stills", pacing=pacing, max_delay_ms=60_000) as session,
        pytest.raises(ValueError, match=r"'still' must be uint8 \(48, 64, 3\)"),
    ):
        session.push(GOOD, 0, wrong, keyframe=True)


def test_a_frame_that_cannot_be_painted_does_not_end_the_session(
    failing_daemon: Daemon, frames: list[NDArray[np.uint8]]
) -> None:
    with Client(failing_daemon.address) as client, client.session() as session:
        for number, frame in enumerate(frames[:7]):
            session.push(frame, number)
        painted, failed = outcome(session)
    assert sorted([*painted, *(each.index for each in failed)]) == list(range(7))
    assert [each.code for each in failed] == [Code.PAINTER_FAILED] * 2
    assert all("out of paint" in str(each) and "Traceback" not in str(each) for each in failed)
    assert session.totals is not None
    assert (session.totals.painted, session.totals.failed) == (5, 2)


def outcome(session: Session) -> tuple[list[int], list[FrameFailed]]:
    """The numbers of the frames that were painted, and what was said of the others."""
    painted: list[int] = []
    failed: list[FrameFailed] = []
    while True:
        try:
            for each in session.results():
                painted.append(each.index)
        except FrameFailed as error:
            failed.append(error)
        else:
            return painted, failed


def test_paint_goes_on_after_a_frame_that_failed(failing_daemon: Daemon, frames: list[NDArray[np.uint8]]) -> None:
    """The exception ends that iteration; the session takes the rest."""
    with Client(failing_daemon.address) as client, client.session() as session:
        with pytest.raises(FrameFailed, match="out of paint"):
            list(session.paint(frames))
        outcome(session)
        assert session.push(frames[0], 1000) > 0
        painted, failed = outcome(session)
    assert len(painted) + len(failed) == 1


# Ends


def test_an_error_inside_ends_the_session(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    session = client.session(painter="identity", flow="none")
    with pytest.raises(KeyError), session:
        push_and_raise(session, frames[0])
    assert happens(lambda: not client.status().sessions)


def push_and_raise(session: Session, frame: NDArray[np.uint8]) -> None:
    session.push(frame, 0)
    raise KeyError


def test_a_closed_session_takes_no_more(client: Client, frames: list[NDArray[np.uint8]]) -> None:
    with client.session(painter="identity", flow="none") as session:
        list(session.paint(frames[:1]))
    with pytest.raises(DaemonGone, match="has ended: asked"):
        session.push(frames[1], 1)


def test_a_session_that_is_not_open_yet_says_how(client: Client) -> None:
    session = client.session()
    with pytest.raises(DaemonGone, match="push a frame"):
        session.update(strength=0.5)


@pytest.mark.usefixtures("impatient")
def test_no_daemon(tmp_path: Path, frames: list[NDArray[np.uint8]]) -> None:
    address = f"ipc://{tmp_path}/none.sock"
    with Client(address) as client:
        with pytest.raises(DaemonGone, match=address):
            client.ping(0.1)
        with pytest.raises(DaemonGone, match=address):
            client.status()
        with pytest.raises(DaemonGone, match=address):
            client.session(source=Source(width=64, height=48)).__enter__()


@pytest.mark.parametrize("address", ["here", "tcp://127.0.0.1", "ipc://", "http://127.0.0.1:1"])
def test_no_address(address: str) -> None:
    with pytest.raises(DaemonGone, match="no address"):
        Client(address)


@pytest.mark.usefixtures("impatient")
def test_a_daemon_that_dies_is_noticed(tmp_path: Path, frames: list[NDArray[np.uint8]]) -> None:
    died = f"died with -{int(signal.SIGKILL)}"
    with (
        pytest.raises(RuntimeError, match=died),
        daemon(tmp_path, "--painters", "identity", "--flows", "none") as mortal,
    ):
        outlive(mortal, frames)


def outlive(mortal: Daemon, frames: list[NDArray[np.uint8]]) -> None:
    with Client(mortal.address, reconnect_s=0.5) as client:
        session = client.session()
        painted_one(session, frames[0], 0)
        mortal.process.kill()
        session.push(frames[1], 1)
        with pytest.raises(DaemonGone, match="has not answered"):
            list(session.results())
        mortal.process.wait()


def test_a_daemon_that_stops_says_so(tmp_path: Path, frames: list[NDArray[np.uint8]]) -> None:
    with daemon(tmp_path, "--painters", "identity", "--flows", "none") as mortal, Client(mortal.address) as client:
        session = client.session()
        painted_one(session, frames[0], 0)
        assert mortal.stop() == 0
        with pytest.raises(DaemonGone, match="shutting_down"):
            list(session.paint(frames[1:]))


def test_what_answers_is_no_daemon(tmp_path: Path) -> None:
    context = zmq.Context()
    stranger = context.socket(zmq.ROUTER)

    def answer() -> None:
        identity, _ = stranger.recv_multipart()
        stranger.send_multipart([identity, b"hello"])

    try:
        stranger.bind(f"ipc://{tmp_path}/stranger.sock")
        answering = threading.Thread(target=answer)
        answering.start()
        with (
            Client(f"ipc://{tmp_path}/stranger.sock") as client,
            pytest.raises(DaemonGone, match="no daemon of this version"),
        ):
            client.status()
        answering.join()
    finally:
        stranger.close(linger=0)
        context.term()
