"""Jobs for painters that read, on pictures small enough for tests."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from warpaint.engines.base import Frame, Mask, PaintJob, Picture
from warpaint.proto.brief import Brief

SIZE = (192, 128)


def brief(**fields: Any) -> Brief:
    """A Brief of few steps."""
    return Brief(**{"prompt": "a wood in autumn", "steps": 4, "strength": 0.75, "guidance": 5.0, **fields})


def scene(seed: int = 0, size: tuple[int, int] = SIZE) -> Picture:
    """A smooth picture of chance."""
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def keyframe(wanted: Brief, bgr: Picture | None = None, **fields: Any) -> PaintJob:
    """A job to paint a whole picture."""
    bgr = scene() if bgr is None else bgr
    size = bgr.shape[1], bgr.shape[0]
    return PaintJob(0, 0, Frame(0, Fraction(0), bgr), wanted, wanted.seed, **{"origin": (0, 0), "size": size, **fields})


def with_controls(job: PaintJob, **images: Picture) -> PaintJob:
    """The job of a frame that these images came with, by kind."""
    return replace(job, frame=replace(job.frame, controls=images))


def hole(size: tuple[int, int] = SIZE) -> Mask:
    """A hole in the middle, whose rim lies on no cell of the latents."""
    width, height = size
    found = np.zeros((height, width), np.bool_)
    found[height // 3 : 2 * height // 3, width // 3 + 3 : 2 * width // 3 + 3] = True
    return found


def hole_job(wanted: Brief, bgr: Picture | None = None, **fields: Any) -> PaintJob:
    """A job to paint a hole, in what is painted so far."""
    bgr = scene() if bgr is None else bgr
    size = bgr.shape[1], bgr.shape[0]
    return keyframe(wanted, bgr, **{"canvas": scene(5, size), "holes": hole(size), **fields})
