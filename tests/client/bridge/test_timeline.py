"""The clock of a bridge, without a clock."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from warpaint.client.bridge.patience import LONGEST_PAUSE_S, pause_s
from warpaint.client.bridge.pieces import FULL_PIECE, Pieces
from warpaint.client.bridge.timeline import SOUND_BYTES, SOUND_WAIT_S, TICKS, Delay, Timeline

STEP = TICKS // 25
PICTURE, SOUND = 0, 1


def at(seconds: float) -> int:
    return round(seconds * TICKS)


def test_times_that_are_right_stay() -> None:
    line = Timeline()
    given_times = [at(1.4) + number * STEP for number in range(100)]
    assert [line.place(PICTURE, pts, 7 + number / 25, STEP) for number, pts in enumerate(given_times)] == given_times
    assert line.mended == {}


def test_a_stall_and_a_burst_change_nothing() -> None:
    line = Timeline()
    given_times = [number * STEP for number in range(100)]
    placed = [line.place(PICTURE, pts, 3.0 if number < 75 else 3.1, STEP) for number, pts in enumerate(given_times)]
    assert placed == given_times


def test_a_time_that_is_missing_follows_from_the_one_before() -> None:
    line = Timeline()
    assert [line.place(PICTURE, pts, 0.0, STEP) for pts in (at(5), None, at(5) + 2 * STEP)] == [
        at(5),
        at(5) + STEP,
        at(5) + 2 * STEP,
    ]
    assert line.mended == {"times that are missing": 1}


def test_without_any_times_they_are_those_of_arrival() -> None:
    line = Timeline()
    assert [line.place(PICTURE, None, at_s, STEP) for at_s in (100.0, 100.04, 100.5)] == [0, at(0.04), at(0.5)]
    assert line.mended == {}  # nothing is wrong with them


def test_times_that_repeat_grow() -> None:
    line = Timeline()
    placed = [line.place(PICTURE, pts, 0.0, STEP) for pts in (at(1), at(1), at(1) - 5, at(1) + STEP)]
    assert placed == [at(1), at(1) + 1, at(1) + 2, at(1) + STEP]
    assert line.mended == {"times that repeat or go back a little": 2}


def test_a_sender_that_begins_anew_goes_on_in_time_with_its_sound() -> None:
    line = Timeline()
    line.place(PICTURE, at(60), 10.0, STEP)
    line.place(SOUND, at(60), 10.0, STEP)
    picture = line.place(PICTURE, at(1.4), 13.0, STEP)  # three seconds later
    sound = line.place(SOUND, at(1.42), 13.0, STEP)
    assert picture == at(63)
    assert sound - picture == at(0.02)
    assert line.mended == {"times that jump": 1}


def test_what_is_left_of_the_old_times_after_a_jump_stays_in_place() -> None:
    line = Timeline()
    for track in (PICTURE, SOUND):
        line.place(track, at(60), 10.0, STEP)
    line.place(PICTURE, at(0), 10.1, STEP)
    assert line.place(SOUND, at(60.1), 10.1, STEP) == at(60.1)
    assert line.place(SOUND, at(0.1), 10.2, STEP) == at(60.2)


def test_sound_that_was_ahead_jumps_with_its_picture() -> None:
    line = Timeline()
    line.place(PICTURE, at(60), 10.0, STEP)
    line.place(SOUND, at(61), 10.0, STEP)
    picture = line.place(PICTURE, at(0), 10.1, STEP)
    assert line.place(SOUND, at(0), 10.1, STEP) == picture == at(61) + STEP
    assert line.place(PICTURE, at(0) + STEP, 10.1, STEP) == picture + STEP


def test_a_jump_ahead_is_taken_out() -> None:
    line = Timeline()
    line.place(PICTURE, at(1), 10.0, STEP)
    assert line.place(PICTURE, at(5000), 10.04, STEP) == at(1.04)


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 2]), st.none() | st.integers(-(2**40), 2**40), st.floats(0, 30)), max_size=50
    )
)
def test_whatever_comes_times_grow(packets: list[tuple[int, int | None, float]]) -> None:
    line, now, last = Timeline(), 0.0, dict[int, int]()
    for track, pts, pause in packets:
        now += pause
        placed = line.place(track, pts, now, STEP)
        assert track not in last or placed > last[track]
        last[track] = placed


# Sound that waits


@dataclass(frozen=True)
class Packet:
    pts: int
    at_s: float
    data: bytes = b""


def test_sound_waits_for_its_picture() -> None:
    delay: Delay[Packet] = Delay()
    packets = [Packet(at(number / 50), 0.0) for number in range(5)]
    for packet in packets:
        delay.put(packet)
    assert delay.due(None, 0.1) == []
    assert delay.due(at(0.04), 0.1) == packets[:3]
    assert delay.due(at(0.04), 0.1) == []
    assert delay.due(at(1), 0.1) == packets[3:]


def test_sound_without_a_picture_goes_on_alone() -> None:
    delay: Delay[Packet] = Delay()
    delay.put(packet := Packet(at(1), 5.0))
    assert delay.due(None, 5.0 + SOUND_WAIT_S / 2) == []
    assert delay.due(None, 5.0 + SOUND_WAIT_S) == [packet]


def test_sound_does_not_pile_up() -> None:
    delay: Delay[Packet] = Delay()
    large = bytes(SOUND_BYTES // 4)
    for number in range(8):
        delay.put(Packet(number, 0.0, large))
    assert [packet.pts for packet in delay.due(100, 0.0)] == [4, 5, 6, 7]
    assert delay.dropped == 4


# Pieces, and patience


def test_a_message_is_a_frame() -> None:
    pieces = Pieces()
    assert [pieces.push(each) for each in (b"one", b"two")] == [b"one", b"two"]


def test_pieces_are_joined() -> None:
    pieces, full = Pieces(), bytes(FULL_PIECE)
    assert [pieces.push(each) for each in (full, full, b"end", b"next")] == [None, None, full + full + b"end", b"next"]


def test_a_raw_frame_has_its_length() -> None:
    pieces, full = Pieces(FULL_PIECE + 3), bytes(FULL_PIECE)
    assert [pieces.push(each) for each in (b"end", full, b"end", full, b"short")] == [
        None,
        None,
        full + b"end",
        None,
        None,
    ]
    assert pieces.damaged == 2


def test_a_raw_frame_of_full_pieces_ends_with_its_last() -> None:
    pieces, full = Pieces(2 * FULL_PIECE), bytes(FULL_PIECE)
    assert [pieces.push(full) for _ in range(4)] == [None, full + full, None, full + full]


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = [pause_s(failures) for failures in range(1, 12)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S == pause_s(10**9)
