from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from warpaint.engines.base import Frame, Mask, Painter, PaintJob, Picture
from warpaint.engines.painters import strokes
from warpaint.engines.painters.filters import Filters
from warpaint.engines.painters.identity import Identity
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code

LOOKS = ("strokes", "ink", "watercolor", "oil", "pencil", "poster")
LOCAL = LOOKS[1:]
WIDTH, HEIGHT = 160, 120


def scene(width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """A sky that gets lighter, a ball, a house with a thin dark mast, and grass."""
    y = np.linspace(0, 1, height)[:, None, None]
    picture = np.repeat((50 * y + np.array((200, 150, 110))).astype(np.uint8), width, axis=1)
    noise = np.random.default_rng(5).normal(0, 25, (height - height * 2 // 3, width, 1))
    picture[height * 2 // 3 :] = (noise + np.array((40, 140, 90))).clip(0, 255)
    cv2.circle(picture, (width // 4, height // 2), height // 5, (30, 40, 200), -1, cv2.LINE_AA)
    cv2.rectangle(picture, (width // 2, height // 3), (width * 4 // 5, height * 3 // 4), (90, 170, 230), -1)
    cv2.line(picture, (width * 9 // 10, 4), (width * 9 // 10, height - 5), (20, 20, 20), 2)
    picture.flags.writeable = False
    return picture


def job(look: str, picture: Picture, *, strength: float = 0.75, seed: int = 3) -> PaintJob:
    frame, brief = Frame(0, Fraction(0), picture), Brief(look=look, strength=strength)
    size = (picture.shape[1], picture.shape[0])
    return PaintJob(id=7, epoch=2, frame=frame, brief=brief, seed=seed, origin=(0, 0), size=size)


def crop_job(whole: PaintJob, x: int, y: int, width: int, height: int, canvas: Picture, holes: Mask) -> PaintJob:
    """The job of a crop of a keyframe's picture; canvas and holes are of the whole frame."""
    part = np.s_[y : y + height, x : x + width]
    frame = replace(whole.frame, bgr=whole.frame.bgr[part])
    return replace(whole, frame=frame, origin=(x, y), canvas=canvas[part], holes=holes[part])


def painted(one: PaintJob) -> Picture:
    (done,) = Filters().paint([one], lambda: False)
    assert (done.id, done.epoch, done.error, done.why, done.memory) == (one.id, one.epoch, None, "", None)
    assert done.image is not None
    assert done.image.dtype == np.uint8
    assert done.image.shape == one.frame.bgr.shape
    return done.image


def distance(a: Picture, b: Picture) -> float:
    return float(cv2.absdiff(a, b).mean())


def hole(*, width: int = WIDTH, height: int = HEIGHT) -> Mask:
    holes = np.zeros((height, width), np.uint8)
    cv2.circle(holes, (width // 2, height // 2), 24, 1, -1)
    return holes.astype(bool)


def after(polls: int) -> Callable[[], bool]:
    """A `cancelled` that turns True after so many polls."""
    answers = iter([False] * polls)
    return lambda: next(answers, True)


def test_is_a_painter_of_six_looks() -> None:
    painter: Painter = Filters()
    assert painter.looks == LOOKS


@pytest.mark.parametrize("look", LOOKS)
class TestEveryLook:
    def test_same_job_gives_same_bits_in_a_fresh_array(self, look: str) -> None:
        one = job(look, scene())
        first, second = painted(one), painted(one)
        np.testing.assert_array_equal(first, second)
        assert not np.shares_memory(first, second)
        assert not np.shares_memory(first, one.frame.bgr)
        assert first.flags.writeable

    def test_leaves_its_inputs_alone(self, look: str) -> None:
        picture, holes = scene().copy(), hole()
        canvas = 255 - picture
        one = crop_job(job(look, picture), 20, 10, 120, 100, canvas, holes)
        painted(one)
        np.testing.assert_array_equal(picture, scene())
        np.testing.assert_array_equal(canvas, 255 - scene())
        np.testing.assert_array_equal(holes, hole())

    def test_takes_read_only_arrays(self, look: str) -> None:
        holes, canvas = hole(), scene().copy()
        holes.flags.writeable = canvas.flags.writeable = False
        painted(crop_job(job(look, scene()), 20, 10, 120, 100, canvas, holes))

    def test_leaves_the_picture_farther_with_strength(self, look: str) -> None:
        small = scene(96, 72)
        distances = [distance(painted(job(look, small, strength=s)), small) for s in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
        assert distances == sorted(distances)
        assert distances[0] < 1.0
        assert np.diff(distances[:4]).min() > 0.5
        assert np.diff(distances).min() > 0.1

    @pytest.mark.parametrize("size", [(8, 8), (8, 50), (50, 9), (11, 13)])
    def test_paints_the_smallest_keyframe(self, look: str, size: tuple[int, int]) -> None:
        painted(job(look, np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)))

    @pytest.mark.parametrize("origin", [(0, 0), (3, 5), (WIDTH - 8, HEIGHT - 8)])
    @pytest.mark.parametrize("zoom", [1, 4])  # below and above the size that strokes enlarge
    def test_paints_the_smallest_crop(self, look: str, origin: tuple[int, int], zoom: int) -> None:
        picture = scene(WIDTH * zoom, HEIGHT * zoom)
        holes = np.ones(picture.shape[:2], bool)
        painted(crop_job(job(look, picture), *origin, 8, 8, picture, holes))

    @pytest.mark.parametrize("level", [0, 127, 255])
    @pytest.mark.parametrize("strength", [0.0, 0.75, 1.0])
    def test_paints_a_flat_picture(self, look: str, level: int, strength: float) -> None:
        flat = np.full((48, 64, 3), level, np.uint8)
        image = painted(job(look, flat, strength=strength))
        assert distance(image, flat) < 100.0  # graphite is not black, nor is paper quite white

    def test_gray_stays_about_gray(self, look: str) -> None:
        gray = cv2.cvtColor(cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        means = painted(job(look, gray)).reshape(-1, 3).mean(axis=0)
        assert np.ptp(means) < 25.0  # paper is warm

    def test_takes_the_largest_seed(self, look: str) -> None:
        painted(job(look, scene(32, 24), seed=2**53 - 1))

    def test_is_not_begun_when_cancelled(self, look: str) -> None:
        (done,) = Filters().paint([job(look, scene())], lambda: True)
        assert (done.image, done.error) == (None, Code.CANCELLED)
        assert done.why


@pytest.mark.parametrize("look", LOCAL)
class TestLocalLooks:
    @pytest.mark.parametrize(("x", "y"), [(96, 60), (97, 61), (131, 43)])
    def test_crop_fits_the_whole(self, look: str, x: int, y: int) -> None:
        whole = job(look, scene(480, 360))
        full = painted(whole)
        holes = np.ones(full.shape[:2], bool)
        crop = painted(crop_job(whole, x, y, 200, 180, full, holes))
        rim = 40  # pixels; as far as the filters reach
        inner = np.s_[y + rim : y + 180 - rim, x + rim : x + 200 - rim]
        difference = cv2.absdiff(crop[rim:-rim, rim:-rim], full[inner])
        assert difference.mean() < 0.1
        assert np.percentile(difference, 99) <= 2

    def test_seed_changes_the_texture_alone(self, look: str) -> None:
        a, b = (painted(job(look, scene(), seed=seed)) for seed in (1, 2))
        if look == "poster":
            np.testing.assert_array_equal(a, b)
        else:
            assert 0.2 < distance(a, b) < 20.0
            assert distance(cv2.blur(a, (31, 31)), cv2.blur(b, (31, 31))) < 3.0


class TestStrokes:
    def test_flickers_with_the_seed(self) -> None:
        a, b = (painted(job("strokes", scene(), seed=seed)) for seed in (1, 2))
        assert distance(a, b) > 4.0

    def test_keeps_the_tones_of_the_picture(self) -> None:
        blurred = [cv2.GaussianBlur(p, (0, 0), 6) for p in (scene(), painted(job("strokes", scene())))]
        assert distance(*blurred) < 6.0

    @pytest.mark.parametrize("zoom", [1, 4])
    def test_keeps_a_thin_line(self, zoom: int) -> None:
        picture = scene(WIDTH * zoom, HEIGHT * zoom)
        gray = cv2.cvtColor(painted(job("strokes", picture)), cv2.COLOR_BGR2GRAY)
        x = WIDTH * zoom * 9 // 10
        along = gray[8 : HEIGHT * zoom * 2 // 3 - 8, x - 2 : x + 3].min(axis=1)  # against the sky
        assert np.mean(along < 90) > 0.9

    def test_leaves_no_bare_canvas_in_a_hole(self) -> None:
        canvas = np.full((HEIGHT, WIDTH, 3), (255, 0, 255), np.uint8)
        canvas[~hole()] = painted(job("strokes", scene()))[~hole()]
        image = painted(crop_job(job("strokes", scene()), 0, 0, WIDTH, HEIGHT, canvas, hole()))
        assert distance(image[hole()], scene()[hole()]) < 25.0
        magenta = (image[:, :, 0] > 200) & (image[:, :, 1] < 60) & (image[:, :, 2] > 200)
        assert not magenta.any()

    def test_leaves_the_canvas_far_from_holes(self) -> None:
        picture = scene(640, 480)
        canvas = 255 - picture
        holes = np.zeros((480, 640), bool)
        holes[200:230, 100:130] = True
        image = painted(crop_job(job("strokes", picture, strength=0.5), 0, 0, 640, 480, canvas, holes))
        np.testing.assert_array_equal(image[:, 400:], canvas[:, 400:])
        assert distance(image[holes], canvas[holes]) > 10.0

    def test_runs_across_the_rim(self) -> None:
        picture, holes = scene(640, 480), np.zeros((480, 640), bool)
        holes[200:230, 100:130] = True
        canvas = 255 - picture
        image = painted(crop_job(job("strokes", picture), 0, 0, 640, 480, canvas, holes))
        assert (image != canvas)[~holes].any()

    @pytest.mark.parametrize("zoom", [1, 4])
    def test_hole_looks_like_the_keyframe(self, zoom: int) -> None:
        """The strokes of a place belong to the canvas: those of a crop are as large as the keyframe's, and the same."""
        whole = job("strokes", scene(WIDTH * zoom, HEIGHT * zoom))
        full = painted(whole)
        holes = np.zeros(full.shape[:2], bool)
        holes[30 * zoom : 70 * zoom, 30 * zoom : 90 * zoom] = True
        canvas = np.where(holes[:, :, None], np.uint8(90), full)
        crop = painted(crop_job(whole, 10 * zoom, 10 * zoom, 100 * zoom, 80 * zoom, canvas, holes))
        inside = holes[10 * zoom : 90 * zoom, 10 * zoom : 110 * zoom]
        same = distance(crop[inside], full[holes])
        other = distance(painted(replace(whole, seed=4))[holes], full[holes])
        assert same < 0.5 * other

    def test_stops_between_layers(self) -> None:
        one, polls = job("strokes", scene(32, 24)), 0
        while (done := Filters().paint([one], after(polls))[0]).error is not None:
            assert (done.image, done.error) == (None, Code.CANCELLED)
            polls += 1
        assert polls > len(strokes.BRUSHES)
        np.testing.assert_array_equal(done.image, painted(one))


def test_jobs_are_answered_in_order_and_apart() -> None:
    looks = ("poster", "no such look", "oil")
    briefs = [Brief(look=look) for look in looks]
    jobs = [replace(job("ink", scene()), id=i, brief=brief) for i, brief in enumerate(briefs)]
    done = Filters().paint(jobs, lambda: False)
    assert [(d.id, d.error) for d in done] == [(0, None), (1, Code.BAD_BRIEF), (2, None)]
    assert "'no such look'" in done[1].why
    assert "watercolor" in done[1].why


def test_jobs_after_the_cancellation_are_cancelled() -> None:
    jobs = [replace(job("poster", scene()), id=i) for i in range(3)]
    done = Filters().paint(jobs, after(2))  # one poll before the look and one after
    assert [(d.id, d.error) for d in done] == [(0, None), (1, Code.CANCELLED), (2, Code.CANCELLED)]


def test_no_look_is_the_first() -> None:
    first = job(Filters.looks[0], scene())
    np.testing.assert_array_equal(painted(replace(first, brief=Brief(look=None))), painted(first))


def test_no_jobs_give_no_answers() -> None:
    assert Filters().paint([], lambda: False) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"frame": Frame(0, Fraction(0), np.zeros((8, 8), np.uint8))}, "uint8 [H, W, 3]"),
        ({"frame": Frame(0, Fraction(0), np.zeros((0, 8, 3), np.uint8))}, "not empty"),
        ({"origin": (1, 0)}, "160x120 at (1, 0), must lie within the working canvas, 160x120"),
        ({"holes": np.zeros((4, 4), bool)}, "holes must be bool [120, 160]; they are bool [4, 4]"),
        ({"holes": np.zeros((120, 160), bool)}, "canvas must be uint8 [120, 160, 3]; it is None"),
    ],
)
def test_arrays_that_do_not_fit_fail_the_job_by_name(changes: dict[str, object], why: str) -> None:
    (done,) = Filters().paint([replace(job("oil", scene()), **changes)], lambda: False)  # type: ignore[arg-type]
    assert (done.image, done.error) == (None, Code.PAINTER_FAILED)
    assert why in done.why


def test_identity_gives_the_picture_itself() -> None:
    painter: Painter = Identity()
    assert painter.looks == ("identity",)
    one = job("identity", scene())
    (done,) = painter.paint([one], lambda: False)
    assert done.image is one.frame.bgr
    assert (done.id, done.epoch, done.error) == (one.id, one.epoch, None)
