"""The example painter that asks stable-diffusion-webui to paint, against a stand-in that is strict with it."""

import base64
import binascii
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from support import clips
from support.daemon import daemon, not_started
from warpaint.client import Client
from warpaint.client.errors import FrameFailed
from warpaint.engines.base import Frame, Mask, Painter, PaintJob, Picture
from warpaint.engines.registry import load_painter
from warpaint.proto.brief import Brief
from warpaint.proto.errors import Code, RefusedError

EXAMPLES = Path(__file__).parents[2] / "examples"
NAME = "webui_painter:WebuiPainter"
CANCELLED_WITHIN_S = 1.0
HAPPENED_WITHIN_S = 10.0

# What img2img understands, in AUTOMATIC1111's webui 1.10 and in Forge. Unknown fields are dropped there without a word.
KNOWN: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("prompt", "negative_prompt", "sampler_name", "sampler_index", "scheduler", "mask"), str),
    **dict.fromkeys(("refiner_checkpoint", "script_name", "force_task_id", "infotext"), str),
    **dict.fromkeys(("seed", "subseed", "steps", "width", "height", "batch_size", "n_iter", "resize_mode"), int),
    **dict.fromkeys(("seed_resize_from_h", "seed_resize_from_w", "mask_blur", "mask_blur_x", "mask_blur_y"), int),
    **dict.fromkeys(("inpainting_fill", "inpaint_full_res_padding", "inpainting_mask_invert"), int),
    **dict.fromkeys(("cfg_scale", "denoising_strength", "image_cfg_scale", "initial_noise_multiplier"), float),
    **dict.fromkeys(("subseed_strength", "eta", "s_min_uncond", "s_churn", "s_tmax", "s_tmin", "s_noise"), float),
    **dict.fromkeys(("refiner_switch_at",), float),
    **dict.fromkeys(("restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid", "mask_round"), bool),
    **dict.fromkeys(("inpaint_full_res", "disable_extra_networks", "include_init_images", "send_images"), bool),
    **dict.fromkeys(("override_settings_restore_afterwards", "save_images"), bool),
    **dict.fromkeys(("init_images", "styles", "script_args"), list),
    **dict.fromkeys(("override_settings", "alwayson_scripts", "comments"), dict),
}
# Without these, webui paints something else: its defaults are another size, any seed, and for holes noise to start
# from, and a zoom to the hole.
ALWAYS = {"init_images", "width", "height", "prompt", "negative_prompt", "denoising_strength", "seed"}
WITH_A_MASK = {"inpainting_fill": 1, "inpaint_full_res": False}


def decoded(text: str) -> Picture:
    """A picture [H, W, 3], or [H, W] for one that is grey, which must be a PNG in base64 and nothing else."""
    data = base64.b64decode(text, validate=True)
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"no PNG: {data[:16]!r}")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype != np.uint8:
        raise ValueError("a PNG that cannot be decoded, or has not 8 bits")
    return picture


def encoded(picture: Picture, kind: str = ".png") -> str:
    return base64.b64encode(cv2.imencode(kind, picture)[1].tobytes()).decode()


def complaint(fields: Any) -> str:
    """What is wrong with the body of an img2img, or nothing."""
    if not isinstance(fields, dict):
        return "no object"
    if unknown := set(fields) - set(KNOWN):
        return f"unknown fields {sorted(unknown)}"
    if missing := ALWAYS - set(fields):
        return f"missing fields {sorted(missing)}"
    if wrong := [name for name, value in fields.items() if type(value) is not KNOWN[name]]:
        return f"fields of a wrong type {wrong}"
    try:
        [picture] = map(decoded, fields["init_images"])
        mask = decoded(fields["mask"]) if "mask" in fields else None
    except (ValueError, TypeError, binascii.Error) as error:
        return str(error)
    size = (fields["width"], fields["height"])
    if size[0] % 8 or size[1] % 8 or picture.shape != (size[1], size[0], 3):
        return f"width and height {size} for a picture {picture.shape}"
    if mask is not None and (mask.shape != picture.shape[:2] or not np.isin(mask, (0, 255)).all()):
        return f"a mask {mask.shape} of {np.unique(mask)[:5]}"
    if mask is not None and any(fields.get(name) != value for name, value in WITH_A_MASK.items()):
        return f"a mask without {WITH_A_MASK}"
    if not 0 <= fields["denoising_strength"] <= 1 or fields["seed"] < 0:
        return "a strength or a seed out of range"
    return ""


class Webui:
    """The stand-in. It paints by turning light into dark, inside the mask if there is one."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []  # the bodies of all img2img
        self.complaints: list[str] = []
        self.credentials: set[str | None] = set()
        self.interrupted = threading.Event()
        self.paints = threading.Event()
        self.waits_for_interrupt = False
        self.answer: Callable[[Picture], tuple[int, bytes]] = lambda picture: (200, reply(encoded(picture)))

    def img2img(self, fields: Any) -> tuple[int, bytes]:
        """The status and body of the answer."""
        if said := complaint(fields):
            self.complaints.append(said)
            return 422, json.dumps({"detail": said}).encode()
        self.asked.append(fields)
        self.paints.set()
        if self.waits_for_interrupt:
            self.interrupted.wait(HAPPENED_WITHIN_S)
        return self.answer(self.painted(fields))

    def painted(self, fields: dict[str, Any]) -> Picture:
        picture = decoded(fields["init_images"][0])
        inside = decoded(fields["mask"]) > 0 if "mask" in fields else np.ones(picture.shape[:2], np.bool_)
        return np.where(inside[..., None], 255 - picture, picture)

    @property
    def mask(self) -> Mask:
        """Of the last request."""
        return decoded(self.asked[-1]["mask"]) > 0


def reply(*images: str) -> bytes:
    return json.dumps({"images": images, "parameters": {}, "info": "{}"}).encode()


def says(status: int, body: Any) -> Callable[[Picture], tuple[int, bytes]]:
    """An answer that is not painted."""
    return lambda _: (status, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.fixture
def webui(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webui]:
    """A stand-in that listens where WEBUI_URL says."""
    made = Webui()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.credentials.add(self.headers["Authorization"])
            status, answer = 404, b'{"detail": "Not Found"}'
            if self.path == "/sdapi/v1/img2img" and self.headers["Content-Type"] == "application/json":
                status, answer = made.img2img(body)
            elif self.path == "/sdapi/v1/interrupt":
                made.interrupted.set()
                status, answer = 200, b"{}"
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except ConnectionError:
                return  # whoever asked has gone

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        monkeypatch.setenv("WEBUI_URL", f"http://127.0.0.1:{server.server_port}/")
        yield made
        made.interrupted.set()
        server.shutdown()
        serving.join()
    assert made.complaints == []


@pytest.fixture(autouse=True)
def _as_on_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with PYTHONPATH=examples, whatever else is set there."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("WEBUI_URL", raising=False)
    monkeypatch.delenv("WEBUI_AUTH", raising=False)


@pytest.fixture
def painter(webui: Webui) -> Painter:
    return load_painter(NAME)


def picture(size: tuple[int, int], seed: int = 0) -> Picture:
    """[H, W, 3], smooth, so that it survives being enlarged and made small again."""
    coarse = np.random.default_rng(seed).integers(40, 216, (4, 4, 3), np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)


def job(
    bgr: Picture, *, canvas: Picture | None = None, holes: Mask | None = None, brief: Brief | None = None, seed: int = 0
) -> PaintJob:
    size = (bgr.shape[1], bgr.shape[0])
    frame = Frame(0, Fraction(0), bgr)
    for array in (bgr, canvas, holes):
        if array is not None:
            array.flags.writeable = False
    return PaintJob(3, 1, frame, brief or Brief(), seed, (0, 0), size, canvas, holes)


def painted(painter: Painter, asked: PaintJob) -> Picture:
    """The picture of a job, which must be painted."""
    [done] = painter.paint([asked], lambda: False)
    assert (done.id, done.epoch, done.error, done.why) == (asked.id, asked.epoch, None, "")
    assert done.image is not None
    assert done.image.dtype == np.uint8
    assert done.image.shape == asked.frame.bgr.shape
    return done.image


def failure(painter: Painter) -> str:
    """Why a picture is not painted."""
    [done] = painter.paint([job(picture((256, 256)))], lambda: False)
    assert (done.id, done.epoch, done.image, done.error) == (3, 1, None, Code.PAINTER_FAILED)
    return done.why


# What is painted


def test_a_keyframe(painter: Painter, webui: Webui) -> None:
    bgr = picture((320, 256))
    np.testing.assert_array_equal(painted(painter, job(bgr)), 255 - bgr)
    assert "mask" not in webui.asked[0]


def test_a_keyframe_starts_from_its_canvas(painter: Painter) -> None:
    canvas = picture((320, 256), seed=1)
    np.testing.assert_array_equal(painted(painter, job(picture((320, 256)), canvas=canvas)), 255 - canvas)


def test_holes_are_painted_from_the_frame_and_nothing_else_is(painter: Painter, webui: Webui) -> None:
    """In whole latents, of 8 x 8 pixels: those with a hole in them."""
    bgr, canvas = picture((320, 256)), picture((320, 256), seed=1)
    holes = np.zeros((256, 320), np.bool_)
    holes[50:61, 43:90] = holes[200, 300] = True
    latents = np.zeros_like(holes)
    latents[48:64, 40:96] = latents[200:208, 296:304] = True

    image = painted(painter, job(bgr, canvas=canvas, holes=holes))
    np.testing.assert_array_equal(image[holes], 255 - bgr[holes])
    np.testing.assert_array_equal(image[~latents], canvas[~latents])
    np.testing.assert_array_equal(webui.mask, latents)


@pytest.mark.parametrize(
    ("size", "sent"),
    [
        ((256, 256), (256, 256)),
        ((640, 360), (640, 360)),
        ((24, 24), (256, 256)),
        ((64, 40), (408, 256)),
        ((96, 240), (256, 640)),
        ((24, 720), (32, 1024)),
        ((1280, 16), (1280, 16)),
    ],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_small_crops_are_enlarged_for_webui(
    painter: Painter, webui: Webui, size: tuple[int, int], sent: tuple[int, int]
) -> None:
    bgr, canvas = picture(size), picture(size, seed=1)
    holes = np.zeros((size[1], size[0]), np.bool_)
    holes[8:16, 8:16] = True
    image = painted(painter, job(bgr, canvas=canvas, holes=holes))
    assert (webui.asked[0]["width"], webui.asked[0]["height"]) == sent
    middle = np.s_[10:14, 10:14]  # at the border, it is enlarged from both sides
    np.testing.assert_allclose(image[middle].astype(int), 255 - bgr[middle].astype(int), atol=4)
    untouched = ~cv2.dilate(holes.view(np.uint8), np.ones((17, 17), np.uint8)).view(np.bool_)
    np.testing.assert_allclose(image[untouched].astype(int), canvas[untouched].astype(int), atol=4)


def test_an_enlarged_mask_covers_all_holes(painter: Painter, webui: Webui) -> None:
    holes = np.random.default_rng(0).random((40, 64)) < 0.02
    painted(painter, job(picture((64, 40)), canvas=picture((64, 40)), holes=holes))
    back = cv2.resize(webui.mask.view(np.uint8) * np.uint8(255), (64, 40), interpolation=cv2.INTER_AREA)
    assert (back[holes] > 200).all()  # 64 x 40 becomes 408 x 256: one does not divide the other
    assert not webui.mask.all()


def test_the_brief_is_passed_on(painter: Painter, webui: Webui) -> None:
    brief = Brief(prompt="a garden, oil", negative_prompt="people", strength=0.3, seed=7)
    painted(painter, job(picture((256, 256)), brief=brief, seed=12))
    names = ("prompt", "negative_prompt", "denoising_strength", "seed", "save_images")
    assert [webui.asked[0][name] for name in names] == ["a garden, oil", "people", 0.3, 12, False]


def test_each_job_has_its_picture(painter: Painter, webui: Webui) -> None:
    pictures = [picture((256, 256), seed) for seed in range(3)]
    done = painter.paint([job(each) for each in pictures], lambda: False)
    for each, bgr in zip(done, pictures, strict=True):
        assert each.image is not None
        np.testing.assert_array_equal(each.image, 255 - bgr)


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp"])
def test_a_reply_in_another_size_and_format(painter: Painter, webui: Webui, kind: str) -> None:
    webui.answer = lambda image: (200, reply(encoded(cv2.resize(image, (512, 512)), kind), encoded(image * 0)))
    bgr = picture((256, 256))
    np.testing.assert_allclose(painted(painter, job(bgr)).astype(int), 255 - bgr.astype(int), atol=24)


def test_credentials(painter: Painter, webui: Webui, monkeypatch: pytest.MonkeyPatch) -> None:
    painted(painter, job(picture((256, 256))))
    monkeypatch.setenv("WEBUI_AUTH", "vincent:sunflowers")
    painted(load_painter(NAME), job(picture((256, 256))))
    assert webui.credentials == {None, f"Basic {base64.b64encode(b'vincent:sunflowers').decode()}"}


# Cancelling


@pytest.mark.timing
def test_cancelling_interrupts_webui(painter: Painter, webui: Webui) -> None:
    webui.waits_for_interrupt = True
    cancelled_at: list[float] = []

    def cancelled() -> bool:
        if webui.paints.is_set() and not cancelled_at:
            cancelled_at.append(time.monotonic())
        return bool(cancelled_at)

    done = painter.paint([job(picture((256, 256)))] * 3, cancelled)
    assert time.monotonic() - cancelled_at[0] < CANCELLED_WITHIN_S
    assert [each.error for each in done] == [Code.CANCELLED] * 3
    assert webui.interrupted.is_set()
    assert len(webui.asked) == 1


@pytest.mark.timing
def test_cancelling_where_webui_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections, and never answers, not even to the interrupt."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WEBUI_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        looks = iter([False, False])
        begun = time.monotonic()
        [done] = load_painter(NAME).paint([job(picture((256, 256)))], lambda: next(looks, True))
    assert done.error is Code.CANCELLED
    assert time.monotonic() - begun < CANCELLED_WITHIN_S


# What goes wrong


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (says(404, {"detail": "Not Found"}), "answered 404, Not Found; start it with --api"),
        (says(401, {"detail": "Not authenticated"}), "answered 401, Not authenticated; set WEBUI_AUTH"),
        (says(422, {"detail": [{"loc": ["body", "steps"], "msg": "not a number"}]}), "422, [{'loc': ['body', 'steps']"),
        (says(500, {"error": "OutOfMemoryError", "detail": "", "errors": "CUDA\nout of memory"}), "CUDA out of memory"),
        (says(500, {"detail": "x" * 10_000}), "500, " + "x" * 200),
        (says(502, b"<html>"), "502, Bad Gateway"),
        (says(500, [1]), "500, [1]"),
        (says(200, b"<html>"), "no JSON"),
        (says(200, b"\xff\xfe"), "no JSON"),
        (says(200, {"images": []}), "without a picture"),
        (says(200, {"images": None}), "without a picture"),
        (says(200, {"images": [7]}), "without a picture"),
        (says(200, {"images": ["a"]}), "without a picture"),
        (says(200, {"images": [""]}), "without a picture"),
        (says(200, {"images": ["aaaa"]}), "without a picture"),
        (says(200, {"info": ""}), "without a picture"),
        (says(200, []), "without a picture"),
    ],
)
def test_an_answer_that_is_no_picture(painter: Painter, webui: Webui, answer: Any, words: str) -> None:
    webui.answer = answer
    why = failure(painter)
    assert words in why
    assert len(why) < 350
    webui.answer = lambda image: (200, reply(encoded(image)))
    painted(painter, job(picture((256, 256))))  # the next one is painted


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    address = free_address()
    monkeypatch.setenv("WEBUI_URL", address)
    why = failure(load_painter(NAME))
    assert why.startswith(f"no webui answers at {address} (")
    assert why.endswith("start it with --api")


def test_no_answer_in_time(painter: Painter, webui: Webui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui_painter.ANSWERED_WITHIN_S", 0.2)
    webui.waits_for_interrupt = True
    assert failure(painter).endswith("did not answer within 0.2 s")


def test_a_connection_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("WEBUI_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")

        def half_an_answer() -> None:
            connection, _ = listening.accept()
            with connection:
                while b'"save_images"' not in connection.recv(1 << 20):
                    pass
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

        breaking = threading.Thread(target=half_an_answer)
        breaking.start()
        why = failure(load_painter(NAME))
        breaking.join()
    assert "broke off" in why


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Said at the start, not with the first frame."""
    monkeypatch.setenv("WEBUI_URL", "127.0.0.1:7860")
    with pytest.raises(RefusedError, match=r"WEBUI_URL must be like http://127.0.0.1:7860"):
        load_painter(NAME)
    code, said = not_started(tmp_path, "--painters", NAME, env={"PYTHONPATH": str(EXAMPLES)})
    assert code != 0
    assert "WEBUI_URL must be like" in said


# In a daemon


def test_real_footage_in_a_real_daemon(webui: Webui, tmp_path: Path) -> None:
    """A few frames of a film; the first is a keyframe, and somewhere a hole is painted."""
    frames = list(clips.frames("bikes", (320, 192), stop=8))
    with daemon(tmp_path, "--painters", NAME, env={"PYTHONPATH": str(EXAMPLES)}) as running:
        done = shown(running.address, frames, prompt="bicycles", strength=0.4, seed=5)
    assert len(done) == len(frames)
    light = 255 - done[0].astype(int)
    assert np.abs(light - frames[0].astype(int)).mean() < 4  # enlarged, and made small again
    for image, frame in zip(done, frames, strict=True):
        assert np.abs(255 - image.astype(int) - frame.astype(int)).mean() < 30
    assert "mask" not in webui.asked[0]
    assert any("mask" in each for each in webui.asked[1:])
    said = {(each["prompt"], each["denoising_strength"], each["seed"]) for each in webui.asked}
    assert said == {("bicycles", 0.4, 5)}


def test_what_goes_wrong_reaches_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBUI_URL", free_address())
    frames = [picture((64, 48))]
    with (
        daemon(tmp_path, "--painters", NAME, env={"PYTHONPATH": str(EXAMPLES)}) as running,
        pytest.raises(FrameFailed, match=r"no webui answers at .* start it with --api"),
    ):
        shown(running.address, frames)


def shown(address: str, frames: list[NDArray[np.uint8]], **brief: Any) -> list[NDArray[np.uint8]]:
    """The painted frames."""
    with Client(address) as client, client.session(look="webui", **brief) as session:
        return [each.image for each in session.paint(frames)]
