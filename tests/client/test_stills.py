"""Stills without a daemon: how they are named, what is wrong with them, and how they are turned."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from warpaint.client.errors import MediaError
from warpaint.client.stills import NAMES_SHOWN, Span, Stills, index_of, named, open_stills, span_of, still_name
from warpaint.proto.messages import Source

SOURCE = Source(width=64, height=48)
RATE = Fraction(25)


def picture(seed: int = 0, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def write(path: Path, content: NDArray[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), content)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A folder of ten pictures."""
    for number in range(10):
        write(tmp_path / "film" / f"{number}.png", picture(number))
    return tmp_path / "film"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stills").mkdir()
    return tmp_path / "stills"


def opened(folder: Path, film: Path, source: Source = SOURCE, **span: Any) -> Stills:
    return open_stills(folder, source, film, rate=RATE, **span)


def refused(folder: Path, film: Path, source: Source = SOURCE, **span: Any) -> str:
    with pytest.raises(MediaError) as error:
        opened(folder, film, source, **span)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("frame_000123.png", 123),
        ("7.png", 7),
        ("take2_frame0040.jpg", 40),
        ("2024-05-01 still 12 (final).webp", 12),
        ("final.png", None),
        ("12.5 .png", 5),
        ("\N{ARABIC-INDIC DIGIT THREE}.png", None),
    ],
)
def test_the_last_group_of_digits_is_the_frame(name: str, index: int | None) -> None:
    assert index_of(Path(name)) == index


def test_the_name_that_is_given_is_read_again() -> None:
    assert [index_of(Path(still_name(index))) for index in (0, 123, 12_345_678)] == [0, 123, 12_345_678]


def test_a_few_names_are_enough() -> None:
    assert named(["a", "b"]) == "a, b"
    assert named(range(NAMES_SHOWN + 3)).endswith("5 and 3 more")


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".PNG"])
def test_stills_are_found_by_their_frame(folder: Path, film: Path, suffix: str) -> None:
    painted = np.full((48, 64, 3), (10, 120, 200), np.uint8)
    write(folder / f"frame_000004{suffix}", painted)
    stills = opened(folder, film)
    assert list(stills) == [4]
    assert stills.get(3) is None
    np.testing.assert_allclose(stills[4], painted, atol=0 if suffix != ".webp" else 3)
    assert stills.notices == []


def test_all_that_is_wrong_is_told_with_each_name(folder: Path, film: Path) -> None:
    write(folder / "frame_000002.png", picture())
    write(folder / "again_2.png", picture())
    write(folder / "frame_000010.png", picture())
    write(folder / "square_3.png", picture(size=(48, 48)))
    write(folder / "final.png", picture())
    (folder / "broken_5.png").write_bytes(b"no picture")
    said = refused(folder, film)
    assert said.startswith(f"{folder} has stills that cannot be used: ")
    for part in (
        "frame_000002.png: again_2.png is of frame 2, too",
        "frame_000010.png: there is no frame 10: the film has 10, 0 to 9",
        "square_3.png: it is 48x48, and the film 64x48",
        "final.png: its name has no number of a frame",
        "broken_5.png: is not a picture",
    ):
        assert part in said
    assert said.count(";") == 4
    assert "\n" not in said


@pytest.mark.parametrize("place", ["missing", "film/0.png"])
def test_what_is_no_folder_is_told(tmp_path: Path, film: Path, place: str) -> None:
    assert f"{tmp_path / place} is no folder" in refused(tmp_path / place, film)


def test_a_folder_without_stills_is_told(folder: Path, film: Path) -> None:
    (folder / "frame_000003.psd").write_bytes(b"layers")
    assert "holds no stills" in refused(folder, film)


def test_other_files_are_passed_over_and_told(folder: Path, film: Path) -> None:
    write(folder / "frame_000003.png", picture())
    for name in ("frame_000004.psd", ".hidden.png", "notes.txt"):
        (folder / name).write_bytes(b"?")
    (folder / "older").mkdir()
    stills = opened(folder, film)
    assert list(stills) == [3]
    assert stills.notices == [f"Files in {folder} that are no pictures are passed over: frame_000004.psd, notes.txt."]


def test_transparency_and_depth_are_told(folder: Path, film: Path) -> None:
    write(folder / "frame_000003.png", np.full((48, 64, 4), 255, np.uint8))
    write(folder / "frame_000004.png", np.full((48, 64, 3), 30_000, np.uint16))
    said = " ".join(opened(folder, film).notices)
    assert "transparency is dropped. So it is with frame_000003.png." in said
    assert "reduced to 8. So it is with frame_000004.png." in said


@pytest.mark.parametrize("size", [(128, 96), (32, 24), (129, 96)])
def test_another_size_of_the_same_shape_is_scaled_and_told(folder: Path, film: Path, size: tuple[int, int]) -> None:
    painted = np.full((size[1], size[0], 3), 90, np.uint8)
    write(folder / "frame_000001.png", painted)
    stills = opened(folder, film)
    assert stills[1].shape == (48, 64, 3)
    assert abs(int(stills[1].mean()) - 90) <= 1
    assert stills.notices == ["Stills are scaled to 64x48: frame_000001.png."]


@pytest.mark.parametrize("size", [(48, 64), (64, 49), (66, 48)])
def test_another_shape_is_refused(folder: Path, film: Path, size: tuple[int, int]) -> None:
    write(folder / "frame_000001.png", picture(size=size))
    assert f"it is {size[0]}x{size[1]}, and the film 64x48" in refused(folder, film)


@pytest.mark.parametrize(("size", "fits"), [((64, 48), True), ((128, 48), True), ((96, 48), False)])
def test_a_film_of_wide_pixels_takes_stills_as_it_is_stored_or_as_it_is_shown(
    folder: Path, film: Path, size: tuple[int, int], fits: bool
) -> None:
    source = Source(width=64, height=48, sample_aspect=(2, 1))
    write(folder / "frame_000001.png", picture(size=size))
    if fits:
        assert opened(folder, film, source)[1].shape == (48, 64, 3)
    else:
        assert "frame_000001.png" in refused(folder, film, source)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_stills_are_turned_as_the_frames_are_stored(folder: Path, film: Path, rotation: Any) -> None:
    stored = picture(5)
    upright = np.rot90(stored, -rotation // 90)  # as pictures of the film are written
    write(folder / "frame_000001.png", upright)
    still = opened(folder, film, Source(width=64, height=48, rotation=rotation))[1]
    np.testing.assert_array_equal(still, stored)
    assert still.flags.c_contiguous


# In an extract


def test_indices_are_those_of_the_whole_film(folder: Path, film: Path) -> None:
    for index in (1, 4, 6, 8):
        write(folder / still_name(index), picture(index))
    stills = opened(folder, film, start_s=0.11, end_s=0.31)  # frames 3 to 7
    assert list(stills) == [1, 3]
    np.testing.assert_array_equal(stills[1], picture(4))
    assert stills.index(3) == 6
    assert stills.notices == ["Stills outside the extract are left out: frame_000001.png, frame_000008.png."]
    assert stills.unseen(2) == ["frame_000006.png"]


def test_no_still_in_the_extract_is_told(folder: Path, film: Path) -> None:
    write(folder / still_name(1), picture())
    assert "none of the stills" in refused(folder, film, start_s=0.2)


def test_a_span_is_looked_for_no_farther_than_it_must(film: Path) -> None:
    assert span_of(film, rate=RATE) == Span(0, Fraction(0), None, None)
    assert span_of(film, rate=RATE, last=9) == Span(0, Fraction(0), None, 10)
    assert span_of(film, rate=RATE, last=8).count is None
    assert span_of(film, rate=RATE, start_s=0.11, end_s=0.19, last=9) == Span(3, Fraction(3, 25), 5, 10)
    assert span_of(film, rate=RATE, start_s=0.12) == Span(3, Fraction(3, 25), None, None)


def test_a_span_begins_and_ends_at_the_frames_whose_times_are_given(film: Path) -> None:
    """Also where a float lies behind the time, as that of 0.1 s does."""
    rate = Fraction(10)
    for first in range(1, 8):
        span = span_of(film, rate=rate, start_s=first / 10, end_s=(first + 1) / 10, last=9)
        assert span == Span(first, Fraction(first, 10), first + 1, 10)


def test_a_still_that_is_gone_meanwhile_is_told(folder: Path, film: Path) -> None:
    write(folder / still_name(1), picture())
    stills = opened(folder, film)
    (folder / still_name(1)).unlink()
    with pytest.raises(MediaError, match="frame_000001"):
        stills.get(1)
