"""Folders of pictures, in and out."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from warpaint.client.errors import MediaError
from warpaint.client.film.reader import open_film
from warpaint.client.film.writer import FilmOut, create_film

Picture = NDArray[np.uint8]


def pictures(count: int, width: int = 9, height: int = 7) -> list[Picture]:
    return list(np.random.default_rng(5).integers(0, 256, (count, height, width, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "Bilder, grün"
    folder.mkdir()
    for number, picture in enumerate(pictures(12)):
        save(folder / f"img{number}.png", picture)
    (folder / "notes.txt").write_text("not a picture")
    return folder


def save(file: Path, picture: Picture) -> None:
    file.write_bytes(cv2.imencode(file.suffix, picture)[1])


def load(file: Path) -> cv2.typing.MatLike:
    return cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)


def test_pictures_come_in_natural_order_as_bgr(folder: Path) -> None:
    with open_film(folder) as film:
        frames = list(film)
    assert [frame.pts for frame in frames] == list(range(12))
    assert (film.source.width, film.source.height, film.source.pixels) == (9, 7, "bgr24")
    assert film.source.time_base == (1, 25)
    assert film.average_rate == Fraction(25)
    assert film.frame_count_estimate == 12
    for frame, picture in zip(frames, pictures(12), strict=True):
        np.testing.assert_array_equal(frame.buffer.reshape(7, 9, 3), picture)
    assert film.notices == []


def test_rate_and_extract(folder: Path) -> None:
    with open_film(folder, rate=Fraction(4), start_s=0.6, end_s=2.0) as film:
        frames = list(film)
    assert film.source.time_base == (1, 4)
    assert [film.stem(frame.pts) for frame in frames] == ["img3", "img4", "img5", "img6", "img7"]


def test_an_extract_begins_and_ends_at_the_pictures_whose_times_are_given(folder: Path) -> None:
    """Also where a float lies behind the time: 1.1 s here, as 5.48 s at 25 a second."""
    with open_film(folder, rate=Fraction(10), start_s=0.3, end_s=1.1) as film:
        assert [film.stem(frame.pts) for frame in film] == [f"img{number}" for number in range(3, 11)]
    with open_film(folder, rate=Fraction(10), start_s=1.1) as film:
        assert [film.stem(frame.pts) for frame in film] == ["img11"]
    with open_film(folder, rate=Fraction(10), start_s=1.000002) as film:
        assert [film.stem(frame.pts) for frame in film] == ["img11"]


def test_the_identity_keeps_names_and_pixels(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "painted"
    with open_film(folder) as film, create_film(target, like=film) as out:
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    assert sorted(file.name for file in target.iterdir()) == sorted(f"img{number}.png" for number in range(12))
    for number, picture in enumerate(pictures(12)):
        np.testing.assert_array_equal(load(target / f"img{number}.png"), picture)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".PNG"])
def test_reads_each_kind_of_picture(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"one{suffix}"
    file.write_bytes(cv2.imencode(suffix.lower(), np.full((7, 9, 3), 90, np.uint8))[1])
    with open_film(tmp_path) as film:
        (frame,) = film
    assert np.abs(frame.buffer.astype(int) - 90).max() <= 2


def test_what_becomes_of_transparency_and_depth_is_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.full((4, 4, 4), 1000, np.uint16))
    with open_film(tmp_path) as film:
        assert any("transparency" in notice for notice in film.notices)
        assert any("8 bits" in notice for notice in film.notices)


def test_files_of_one_stem_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for suffix in (".png", ".bmp"):
        save(tmp_path / f"one{suffix}", pictures(1)[0])
    with open_film(tmp_path) as film, create_film(tmp_path / "out", like=film) as out:
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["one.bmp.png", "one.png.png"]


def test_a_picture_of_another_size_is_named(folder: Path) -> None:
    save(folder / "img7.png", pictures(1, 8, 7)[0])
    with open_film(folder) as film, pytest.raises(MediaError, match=r"img7\.png is 8x7, but img0\.png is 9x7"):
        list(film)


def test_a_damaged_picture_is_named(folder: Path) -> None:
    (folder / "img3.png").write_bytes(b"no picture")
    with open_film(folder) as film, pytest.raises(MediaError, match=r"img3\.png is not a picture"):
        list(film)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="holds no pictures"):
        open_film(tmp_path)


def test_an_extract_past_the_end_is_refused(folder: Path) -> None:
    with pytest.raises(MediaError, match="no picture in the extract"):
        open_film(folder, start_s=10)


def test_the_input_is_not_written_over(folder: Path) -> None:
    with open_film(folder) as film, pytest.raises(MediaError, match="is the input"):
        create_film(folder, like=film)


def test_a_file_in_the_way_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with open_film(folder) as film, pytest.raises(MediaError, match="cannot be made"):
        create_film(tmp_path / "file", like=film)


def test_a_folder_becomes_a_film_and_a_film_a_folder(folder: Path, tmp_path: Path) -> None:
    film_file, target = tmp_path / "film.mkv", tmp_path / "pictures"
    with open_film(folder) as film, FilmOut(film_file, like=film, codec="ffv1") as out:
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    with open_film(film_file) as film, create_film(target, like=film) as out:
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    for number, picture in enumerate(pictures(12), start=1):
        np.testing.assert_array_equal(load(target / f"{number:06d}.png"), picture)


def test_a_film_of_planes_becomes_pictures_of_its_colours(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    green = np.full((16, 16, 3), (64, 192, 32), np.uint8)
    save(tmp_path / "in" / "one.png", green)
    with open_film(tmp_path / "in") as film, FilmOut(tmp_path / "film.mp4", like=film, crf=0) as out:
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    with open_film(tmp_path / "film.mp4") as film, create_film(tmp_path / "out", like=film) as out:
        assert film.source.pixels == "yuv420p"
        for frame in film:
            out.write(frame.pts, frame.duration, frame.buffer)
    assert np.abs(load(tmp_path / "out" / "000001.png").astype(int) - green).max() <= 2
