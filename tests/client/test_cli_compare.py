"""`warpaint compare` as a user runs it: the command in a process of its own, on real films."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from support.browser import browser
from support.daemon import Daemon
from support.scenes import film, two_layers

WARPAINT = Path(sys.executable).with_name("warpaint")
FINISHED_WITHIN_S = 60.0
SIZE = (128, 96)
FRAMES = 20

Picture = NDArray[np.uint8]
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def raw_pictures() -> list[Picture]:
    return film(two_layers(SIZE), FRAMES, SIZE)


def noisy(pictures: list[Picture], sigma: float) -> list[Picture]:
    """As a painter has it that paints each frame anew."""
    rng = np.random.default_rng(4)
    return [np.clip(each + rng.normal(0, sigma, each.shape), 0, 255).astype(np.uint8) for each in pictures]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes pictures as a lossless film of so many frames a second; its path."""

    def written(name: str, pictures: list[Picture]) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=10)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "bgr0"
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            container.mux(stream.encode())
        return path

    return written


def compare(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """`warpaint compare` to its end."""
    command = [str(WARPAINT), "compare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=FINISHED_WITHIN_S)


def compared(*arguments: object) -> str:
    """What it prints, which must succeed."""
    done = compare(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments: object) -> str:
    """What it says, which must fail in an orderly way."""
    done = compare(*arguments)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def row(table: str, title: str) -> list[str]:
    """The cells of the row of this title, parted by two blanks at least."""
    [line] = [line for line in table.splitlines() if line.startswith(f"{title}  ")]
    return re.split(r"\s{2,}", line.strip())[1:]


class TestTable:
    def test_tells_a_film_that_follows_from_one_that_is_frozen(self, write: Write, raw_pictures: list[Picture]) -> None:
        raw, alone = write("raw.mkv", raw_pictures), write("alone.mkv", noisy(raw_pictures, 12))
        good, frozen = write("good.mkv", noisy(raw_pictures, 2)), write("frozen.mkv", [raw_pictures[0]] * FRAMES)
        out = compared(raw, good, f"stuck={frozen}", "--alone", alone)
        allowed, of_good, of_frozen = row(out, "steadiness at 5 frames")
        assert allowed == "≥ 1.2 x"
        assert float(of_good.split()[0]) > 10
        assert of_frozen.startswith("✗ 0.")
        assert row(out, "following")[2].startswith("✗")
        assert re.search(r"^✗ stuck fails: steadiness at .*, at least", out, re.MULTILINE)
        assert "against one seed" not in out

    def test_has_the_columns_of_the_other_reference_and_of_the_log(
        self, write: Write, raw_pictures: list[Picture], shared_daemon: Daemon, tmp_path: Path
    ) -> None:
        raw, ours, log = write("raw.mkv", raw_pictures), tmp_path / "ours.mkv", tmp_path / "ours.jsonl"
        command = [WARPAINT, "run", raw, ours, "--codec", "ffv1", "--log", log, "--daemon", shared_daemon.address]
        subprocess.run(list(map(str, command)), check=True, timeout=FINISHED_WITHIN_S, capture_output=True)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert lines[0] == {"log": "warpaint run 1", "painter": "filters", "flow": "dis", "width": 128, "height": 96}
        assert [line["index"] for line in lines[1:]] == list(range(FRAMES))
        assert lines[1]["keyframe"]
        assert lines[1]["painted_pixels"] == 128 * 96
        alone, figures = write("alone.mkv", noisy(raw_pictures, 12)), tmp_path / "figures.json"
        out = compared(raw, ours, "--alone", alone, "--alone-fixed", alone, "--log", log, "--json", figures)
        assert len(row(out, "against one seed at 1 frame")) == 2
        told = json.loads(figures.read_text())
        [film] = told["films"]
        assert (told["frames"], told["width"], told["height"], told["rate"]) == (FRAMES, 128, 96, 10)
        keyframes = [line["index"] for line in lines[1:] if line["keyframe"]]
        assert film["keyframes"] == keyframes
        painted = sum(line["painted_pixels"] for line in lines[1:]) / (FRAMES * 128 * 96)
        assert film["figures"]["painted_share"] == pytest.approx(painted)
        assert row(out, "painted area")[1] == f"{100 * painted:.1f} %"
        assert len(film["curves"]["jumps"]) == FRAMES
        assert film["curves"]["jumps"][0] is None

    def test_gates_are_for_scripts(self, write: Write, raw_pictures: list[Picture]) -> None:
        raw, frozen = write("raw.mkv", raw_pictures), write("frozen.mkv", [raw_pictures[0]] * FRAMES)
        flickering = [np.clip(each + 12.0 * (t % 2), 0, 255).astype(np.uint8) for t, each in enumerate(raw_pictures)]
        alone = write("alone.mkv", flickering)
        done = compare(raw, frozen, "--alone", alone, "--gates")
        assert done.returncode == 1
        assert "frozen: not all gates are passed" in done.stderr
        assert "✗ frozen fails" in done.stdout
        assert compare(raw, raw, "--alone", alone, "--gates").returncode == 0

    def test_reads_folders_of_pictures(self, write: Write, raw_pictures: list[Picture], tmp_path: Path) -> None:
        raw, folder = write("raw.mkv", raw_pictures), tmp_path / "pictures"
        folder.mkdir()
        for number, picture in enumerate(raw_pictures):
            cv2.imwrite(str(folder / f"{number}.png"), picture)
        out = compared(raw, folder, "--alone", write("alone.mkv", noisy(raw_pictures, 12)))
        assert row(out, "steadiness at 1 frame")[1] == "without bound"
        assert row(out, "crispness, softest blocks")


class TestFilmsThatDiffer:
    def test_a_frame_or_two_more_are_left_out(self, write: Write, raw_pictures: list[Picture]) -> None:
        raw, longer = write("raw.mkv", raw_pictures), write("longer.mkv", [*raw_pictures, *raw_pictures[:2]])
        out = compared(raw, longer)
        assert f"(raw {FRAMES}, longer {FRAMES + 2}): the first {FRAMES} are judged" in out

    def test_more_are_refused(self, write: Write, raw_pictures: list[Picture]) -> None:
        raw, shorter = write("raw.mkv", raw_pictures), write("shorter.mkv", raw_pictures[:-3])
        said = refused(raw, shorter)
        assert f"shorter.mkv has {FRAMES - 3} frames, and" in said
        assert f"raw.mkv has {FRAMES}: they are matched by order, and may differ by at most 2" in said

    def test_another_size_is_scaled(self, write: Write, raw_pictures: list[Picture]) -> None:
        small = [cv2.resize(each, (64, 48), interpolation=cv2.INTER_AREA) for each in raw_pictures]
        out = compared(write("raw.mkv", raw_pictures), write("small.mkv", small))
        assert "small is 64x48, and scaled to the raw film's 128x96" in out

    def test_another_shape_is_refused(self, write: Write, raw_pictures: list[Picture]) -> None:
        wide = write("wide.mkv", [np.ascontiguousarray(each[:64]) for each in raw_pictures])
        said = refused(write("raw.mkv", raw_pictures), wide)
        assert "wide.mkv is shown as 128x64, and" in said
        assert "raw.mkv as 128x96: they must have one shape" in said

    def test_the_shape_is_that_which_is_shown(
        self, write: Write, raw_pictures: list[Picture], ffmpeg: str, tmp_path: Path
    ) -> None:
        """Half as wide, of pixels that are twice as wide, and the same of square ones."""
        halved = [cv2.resize(each, (64, 96), interpolation=cv2.INTER_AREA) for each in raw_pictures]
        raw, square, wide = write("raw.mkv", raw_pictures), write("square.mkv", halved), tmp_path / "wide.mkv"
        command = [ffmpeg, "-v", "error", "-nostdin", "-i", str(square), "-vf", "setsar=2", "-c:v", "ffv1", str(wide)]
        subprocess.run(command, check=True, timeout=FINISHED_WITHIN_S)
        assert "wide is 64x96, and scaled to the raw film's 128x96" in compared(raw, wide)
        assert "one shape" in refused(raw, square)

    def test_one_that_is_stored_on_its_side_is_turned_upright(
        self, write: Write, raw_pictures: list[Picture], tmp_path: Path
    ) -> None:
        raw, turned = write("raw.mkv", raw_pictures), tmp_path / "turned.mkv"
        lying = write("lying.mkv", [np.ascontiguousarray(np.rot90(each, -1)) for each in raw_pictures])
        with av.open(str(lying)) as film, av.open(str(turned), "w") as out:
            stream = film.streams.video[0]
            copy = out.add_stream_from_template(stream)
            copy.set_display_rotation(90)  # to the left, as FFmpeg counts
            for packet in film.demux(stream):
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
        out_text = compared(raw, turned, "--alone", write("alone.mkv", noisy(raw_pictures, 12)))
        assert row(out_text, "steadiness at 1 frame")[1] == "without bound"
        assert "scaled" not in out_text


class TestWrongUse:
    def test_a_file_that_is_not_there(self, write: Write, raw_pictures: list[Picture], tmp_path: Path) -> None:
        raw = write("raw.mkv", raw_pictures[:2])
        assert "none.mkv: there is no such file" in refused(raw, tmp_path / "none.mkv")
        assert "none.jsonl cannot be read: No such file" in refused(raw, raw, "--log", tmp_path / "none.jsonl")
        assert "there is no such folder of maps" in refused(raw, raw, "--maps", tmp_path / "none")

    def test_a_label_twice(self, write: Write, raw_pictures: list[Picture]) -> None:
        raw = write("raw.mkv", raw_pictures[:2])
        assert "two films are called 'a': name them apart, as in LABEL=FILE" in refused(raw, f"a={raw}", f"a={raw}")

    def test_what_is_no_log(self, write: Write, raw_pictures: list[Picture], tmp_path: Path) -> None:
        raw, log = write("raw.mkv", raw_pictures[:3]), tmp_path / "log.jsonl"
        head = '{"log":"warpaint run 1","painter":"p","flow":"f","width":8,"height":8}\n'
        line = (
            '{"index":0,"pts":0,"keyframe":true,"provenance":"painted","holes":0,"confidence":1,"painted_pixels":64,'
            '"delay_ms":0,"stages_ms":{}}\n'
        )
        for text, why in (
            ("", "line 1 is none of its lines"),
            (head, "no log of `warpaint run --log` with frames in it"),
            (head + "{}\n", "line 2 is none of its lines"),
            (head + line, "has 1 frames, and the films have 3: it is of another film"),
            (head + 6 * line, "has 6 frames, and the films have 3: it is of another film"),
        ):
            log.write_text(text)
            assert why in refused(raw, raw, "--log", log)
        assert "one for each painted film" in refused(raw, raw, "--log", log, log)
        assert "cannot be used with --start" in refused(raw, raw, "--log", log, "--start", 0.1)

    def test_a_row_that_there_is_not(self, write: Write, raw_pictures: list[Picture], tmp_path: Path) -> None:
        raw = write("raw.mkv", raw_pictures[:2])
        assert "--row 96: the film has rows 0 to 95" in refused(raw, raw, "--report", tmp_path / "r.html", "--row", 96)

    def test_maps_that_are_none(self, write: Write, raw_pictures: list[Picture], tmp_path: Path) -> None:
        raw = write("raw.mkv", raw_pictures[:2])
        said = refused(raw, raw, "--report", tmp_path / "r.html", "--maps", tmp_path)
        assert "flow.npy: this is to be a map that `warpaint run --maps` wrote, and is not" in said


class _Page(HTMLParser):
    """What a page holds: its elements, its images, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.images: list[tuple[str, Picture]] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        given = dict(attrs)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "img":
            head, _, data = (given["src"] or "").partition(",")
            assert head == "data:image/jpeg;base64"
            picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            self.images.append((given["alt"] or "", np.asarray(picture, np.uint8)))

    def handle_data(self, data: str) -> None:
        self.words += data


class TestReport:
    @pytest.fixture
    def page(self, write: Write, raw_pictures: list[Picture], tmp_path: Path) -> tuple[Path, _Page]:
        """Of a film whose name is markup, with a pop at frame 12."""
        brighter = [np.clip(each + 30.0 * (t >= 12), 0, 255).astype(np.uint8) for t, each in enumerate(raw_pictures)]
        raw, film, alone = (
            write(name, pictures)
            for name, pictures in (
                ("raw.mkv", raw_pictures),
                ("<b>&film.mkv", brighter),
                ("alone.mkv", noisy(raw_pictures, 12)),
            )
        )
        file = tmp_path / "report.html"
        compared(raw, film, "--alone", alone, "--report", file, "--row", 40)
        return file, _Page(file.read_text(encoding="utf-8"))

    def test_needs_nothing_beside_it(self, page: tuple[Path, _Page]) -> None:
        _, held = page
        assert all(link.startswith("data:") for link in held.links)
        assert {"script", "link", "iframe"}.isdisjoint(held.elements)
        assert held.elements.count("svg") == 5
        assert "b" not in held.elements
        assert "raw.mkv: <b>&film" in held.words

    def test_shows_the_worst_moment(self, page: tuple[Path, _Page]) -> None:
        _, held = page
        assert "jumps most at frame 12" in held.words
        captions = [caption for caption, _ in held.images]
        assert {"frame 11, 1.10 s", "frame 12, 1.20 s", "frame 13, 1.30 s"} <= set(captions)

    def test_slices_are_the_row_over_the_frames(self, page: tuple[Path, _Page], raw_pictures: list[Picture]) -> None:
        _, held = page
        slices = [(caption, picture) for caption, picture in held.images if picture.shape[:2] == (FRAMES, 128)]
        assert [caption for caption, _ in slices] == ["raw", "alone", "<b>&film"]
        expected = np.stack([picture[40] for picture in raw_pictures])
        assert np.abs(slices[0][1].astype(np.float32) - expected).mean() < 6  # JPEG
        lighter = slices[2][1].astype(np.float32).mean(axis=(1, 2)) - expected.mean(axis=(1, 2))
        assert lighter[:11].max() < 5 < 20 < lighter[13:].min()

    @pytest.mark.programs
    def test_opens_in_a_browser(self, page: tuple[Path, _Page]) -> None:
        file, held = page
        with browser() as running:
            shown = running.new_page()
            asked: list[str] = []
            shown.on("request", lambda request: asked.append(request.url))
            shown.goto(file.as_uri())
            widths = shown.evaluate("[...document.images].map((each) => each.naturalWidth)")
            assert len(widths) == len(held.images)
            assert min(widths) > 0
            assert {url.split(":")[0] for url in asked} <= {"file", "data"}
            assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
