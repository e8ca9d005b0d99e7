"""A painter of one's own: it asks a running stable-diffusion-webui (AUTOMATIC1111), or Forge, to paint.

./webui.sh --api
PYTHONPATH=examples warpaintd --painters webui_painter:WebuiPainter
warpaint run in.mp4 painted.mp4 --prompt "an oil painting of a garden" --strength 0.5

WEBUI_URL is where webui listens; WEBUI_AUTH is user:password, for a webui that was started with --api-auth.
"""

import base64
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from http.client import HTTPException
from threading import Thread
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import cv2
import numpy as np

from warpaint.engines.base import Mask, PaintDone, PaintJob, Picture
from warpaint.proto.errors import Code

DEFAULT_URL = "http://127.0.0.1:7860"

# The Brief's schedulers in webui's words. TCD is in Forge alone; webui says so if it is asked for what it has not.
SAMPLERS = {
    "ddim": "DDIM",
    "dpm++": "DPM++ 2M",
    "euler": "Euler",
    "euler_a": "Euler a",
    "lcm": "LCM",
    "tcd": "TCD",
    "unipc": "UniPC",
}
# For holes: 1 starts from the picture, not from noise; False forbids webui to zoom by itself. A blur would mix the raw
# frame into the border of what is painted.
HOLE_SETTINGS = {"inpainting_fill": 1, "inpaint_full_res": False, "mask_blur": 0}

# A latent is a square of so many pixels; what is painted has sides of whole latents.
LATENT = 8
# Small pictures are painted badly: crops are enlarged until the shorter side has this many pixels (512 is better for
# Stable Diffusion 1, and slower), or the longer side that many: a strip along the frame's edge would become huge.
SHORT_SIDE, LONG_SIDE = 256, 1024

# Patience, seconds. The daemon's own, `paint_timeout_s`, usually ends first; it comes here as `cancelled`.
ANSWERED_WITHIN_S = 600.0
INTERRUPTED_WITHIN_S = 0.5
CANCELLED_ASKED_EVERY_S = 0.1

# Of an error: characters of webui's own words, and what to do.
WORDS = 200
HINTS = {401: "; set WEBUI_AUTH to the user:password of its --api-auth", 404: "; start it with --api"}


class WebuiError(Exception):
    """Webui did not paint: why, and what to do about it, in a sentence."""


class WebuiPainter:
    """A Painter. What to paint is the Brief's; the model is the one that webui has loaded."""

    looks = ("webui",)

    def __init__(self) -> None:
        self._url = os.environ.get("WEBUI_URL", DEFAULT_URL).rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise ValueError(f"WEBUI_URL must be like {DEFAULT_URL}; it is {self._url!r}")
        self._headers = {"Content-Type": "application/json"}
        if auth := os.environ.get("WEBUI_AUTH"):
            self._headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"

    def paint(self, jobs: Sequence[PaintJob], cancelled: Callable[[], bool]) -> list[PaintDone]:
        """One result a job, in order. Errors: CANCELLED; PAINTER_FAILED for all that goes wrong with webui."""
        return [self._painted(job, cancelled) for job in jobs]

    def _painted(self, job: PaintJob, cancelled: Callable[[], bool]) -> PaintDone:
        if cancelled():
            return _failed(job, Code.CANCELLED, "cancelled before webui was asked")
        reply = _in_a_thread(lambda: self._post("/sdapi/v1/img2img", _fields(job), ANSWERED_WITHIN_S))
        while not wait([reply], CANCELLED_ASKED_EVERY_S).done:
            if cancelled():
                with suppress(WebuiError):  # at worst webui goes on with a picture that nobody waits for
                    self._post("/sdapi/v1/interrupt", {}, INTERRUPTED_WITHIN_S)
                return _failed(job, Code.CANCELLED, "cancelled while webui painted")
        try:
            return PaintDone(job.id, job.epoch, _picture(reply.result(), job.frame.bgr))
        except WebuiError as error:
            return _failed(job, Code.PAINTER_FAILED, str(error))

    def _post(self, path: str, fields: dict[str, Any], timeout_s: float) -> Any:
        """The reply, JSON. Raises WebuiError."""
        request = Request(self._url + path, json.dumps(fields).encode(), self._headers)
        try:
            with urlopen(request, timeout=timeout_s) as reply:
                return json.load(reply)
        except HTTPError as error:
            with error:
                raise WebuiError(f"webui at {self._url} answered {error.code}, {_words(error)}") from error
        except TimeoutError as error:
            raise WebuiError(f"webui at {self._url} did not answer within {timeout_s:g} s") from error
        except URLError as error:
            raise WebuiError(f"no webui answers at {self._url} ({error.reason}); start it with --api") from error
        except (OSError, HTTPException, ValueError) as error:
            raise WebuiError(f"webui at {self._url} broke off, or speaks no JSON ({error!r:.{WORDS}})") from error


def _failed(job: PaintJob, code: Code, why: str) -> PaintDone:
    """A job without a picture."""
    return PaintDone(job.id, job.epoch, None, error=code, why=why)


def _in_a_thread(work: Callable[[], Any]) -> "Future[Any]":
    """The result of some work, to come. An executor would do, but waits for its threads before the process may end."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # whoever asks for the result gets it
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def _fields(job: PaintJob) -> dict[str, Any]:
    """The body of an img2img: the picture to start from, and for holes the mask of what is painted."""
    width, height = size = _size(job.frame.bgr)
    start = job.frame.bgr if job.canvas is None else job.canvas
    holes: dict[str, Any] = {}
    if job.holes is not None:
        start = np.where(job.holes[..., None], job.frame.bgr, start)  # the frame says what belongs into the holes
        holes = HOLE_SETTINGS | {"mask": _png(_mask(job.holes, size))}
    fields = {
        "init_images": [_png(cv2.resize(start, size, interpolation=cv2.INTER_CUBIC))],
        "width": width,
        "height": height,
        "prompt": job.brief.prompt,
        "negative_prompt": job.brief.negative_prompt,
        "denoising_strength": job.brief.strength,
        "steps": job.brief.steps,
        "cfg_scale": job.brief.guidance,
        "sampler_name": SAMPLERS[job.brief.scheduler],
        "seed": job.seed,
        "save_images": False,  # webui's folder of outputs is not for single frames
    }
    return fields | holes


def _size(bgr: Picture) -> tuple[int, int]:
    """The (width, height) to paint a picture at: its own, or enlarged."""
    h, w = bgr.shape[:2]
    scale = max(1.0, min(SHORT_SIDE / min(h, w), LONG_SIDE / max(h, w)))
    return LATENT * round(w * scale / LATENT), LATENT * round(h * scale / LATENT)


def _mask(holes: Mask, size: tuple[int, int]) -> Picture:
    """[h, w] uint8, 255 where webui paints: every latent with a hole in it. Webui alone would leave some out."""
    width, height = size
    enlarged = cv2.resize(holes.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    latents = enlarged.reshape(height // LATENT, LATENT, width // LATENT, LATENT).max(axis=(1, 3))
    return np.kron(latents * np.uint8(255), np.ones((LATENT, LATENT), np.uint8))


def _png(picture: Picture) -> str:
    """A picture as the API wants it: PNG in base64."""
    return base64.b64encode(cv2.imencode(".png", picture)[1]).decode()


def _picture(reply: Any, like: Picture) -> Picture:
    """The picture of a reply, in the size of another: PNG, JPEG or WebP, as webui's settings say. Raises WebuiError."""
    try:
        file = np.frombuffer(base64.b64decode(reply["images"][0]), np.uint8)
        image = cv2.imdecode(file, cv2.IMREAD_COLOR)
    except (LookupError, TypeError, ValueError, cv2.error):
        image = None
    if image is None:
        raise WebuiError("webui answered without a picture; its console may say why")
    h, w = like.shape[:2]
    return image if image.shape == like.shape else cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)


def _words(error: HTTPError) -> str:
    """What webui says of an error, in a short line, and what to do, where that is known."""
    try:
        said = json.load(error)
    except (OSError, HTTPException, ValueError):
        said = error.reason
    if isinstance(said, dict):
        said = said.get("detail") or said.get("errors") or error.reason
    return " ".join(str(said).split())[:WORDS] + HINTS.get(error.code, "")
