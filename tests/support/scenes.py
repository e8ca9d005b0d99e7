"""Generated clips with known flow and known occlusion: textured layers that move in front of each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layer:
    """A textured sheet. `place` is the 2x3 affine that puts its texture on the canvas at time 0; `motion` moves it."""

    texture: NDArray[np.uint8]  # [h, w, 3]
    alpha: NDArray[np.uint8]  # [h, w], 0 or 255
    velocity: tuple[float, float]  # pixels a frame
    spin: float = 0.0  # degrees a frame, around its centre
    growth: float = 1.0  # scale a frame
    start: tuple[float, float] = (0.0, 0.0)

    def pose(self, t: float) -> NDArray[np.float64]:
        """The 3x3 matrix from texture to canvas at time t."""
        h, w = self.alpha.shape
        turn = np.eye(3)
        turn[:2] = cv2.getRotationMatrix2D((w / 2, h / 2), self.spin * t, self.growth**t)
        shift = np.eye(3)
        shift[:2, 2] = self.start[0] + self.velocity[0] * t, self.start[1] + self.velocity[1] * t
        return shift @ turn


@dataclass(frozen=True)
class Truth:
    """target: the picture; flow into the source; which pixels are seen in the source; which have texture."""

    target: NDArray[np.uint8]
    source: NDArray[np.uint8]
    flow: NDArray[np.float32]
    visible: NDArray[np.bool_]
    textured: NDArray[np.bool_]


def noise_texture(
    size: tuple[int, int], seed: int, *, contrast: float = 60.0, base: Sequence[float] = (128, 128, 128)
) -> NDArray[np.uint8]:
    """A picture [h, w, 3] of noise at several scales, like bark, grass or cloth."""
    w, h = size
    rng = np.random.default_rng(seed)
    total = np.zeros((h, w, 3), np.float32)
    for octave, weight in ((2, 0.35), (5, 0.6), (14, 0.8), (40, 1.0)):
        coarse = rng.standard_normal((h // octave + 3, w // octave + 3, 3)).astype(np.float32)
        total += weight * cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    return np.clip(total * contrast / 2 + np.asarray(base, np.float32), 0, 255).astype(np.uint8)


def ellipse_alpha(size: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask [h, w] of the largest ellipse in a sheet."""
    w, h = size
    alpha = np.zeros((h, w), np.uint8)
    cv2.ellipse(alpha, (w // 2, h // 2), (w // 2 - 2, h // 2 - 2), 0, 0, 360, 255, -1)
    return alpha


def _render(layers: Sequence[Layer], t: float, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    w, h = size
    picture = np.zeros((h, w, 3), np.float32)
    owner = np.full((h, w), -1, np.int8)
    for number, layer in enumerate(layers):
        pose = layer.pose(t)[:2]
        texture = cv2.warpAffine(layer.texture, pose, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        alpha = cv2.warpAffine(layer.alpha, pose, size, flags=cv2.INTER_LINEAR).astype(np.float32)[..., None] / 255
        picture = picture * (1 - alpha) + texture * alpha
        owner[alpha[..., 0] > 0.5] = number
    return np.rint(picture).astype(np.uint8), owner


def truth(layers: Sequence[Layer], *, target_at: float, source_at: float, size: tuple[int, int]) -> Truth:
    """The two pictures at these times (frames), with the true flow from target into source, and visibility."""
    w, h = size
    target, owner = _render(layers, target_at, size)
    source, source_owner = _render(layers, source_at, size)
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), axis=-1).astype(np.float64)
    flow = np.zeros((h, w, 2), np.float32)
    for number, layer in enumerate(layers):
        step = layer.pose(source_at) @ np.linalg.inv(layer.pose(target_at))
        there = grid @ step[:2, :2].T + step[:2, 2]
        flow[owner == number] = (there - grid)[owner == number]
    there = np.rint(grid + flow).astype(int)
    inside = (there[..., 0] >= 0) & (there[..., 0] < w) & (there[..., 1] >= 0) & (there[..., 1] < h)
    y, x = np.clip(there[..., 1], 0, h - 1), np.clip(there[..., 0], 0, w - 1)
    visible = inside & (source_owner[y, x] == owner)
    gray = cv2.cvtColor(target, cv2.COLOR_BGR2GRAY).astype(np.float32)
    spread = cv2.blur(gray * gray, (9, 9)) - cv2.blur(gray, (9, 9)) ** 2
    return Truth(target, source, flow, visible, spread > 25.0)


def film(layers: Sequence[Layer], count: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """The pictures of frames 0 to count - 1."""
    return [_render(layers, t, size)[0] for t in range(count)]


def two_layers(
    size: tuple[int, int] = (384, 256),
    *,
    background: tuple[float, float] = (0.4, 0.2),
    foreground: tuple[float, float] = (-1.5, 0.5),
    spin: float = 0.0,
    growth: float = 1.0,
    seed: int = 1,
) -> list[Layer]:
    """A textured ellipse in front of a textured wall; velocities in pixels a frame."""
    w, h = size
    margin = 200
    wall = noise_texture((w + 2 * margin, h + 2 * margin), seed, base=(110, 130, 120))
    disc_size = (w * 2 // 5, h // 2)
    disc = noise_texture(disc_size, seed + 100, base=(90, 140, 190))
    return [
        Layer(wall, np.full(wall.shape[:2], 255, np.uint8), background, start=(-margin, -margin)),
        Layer(disc, ellipse_alpha(disc_size), foreground, spin, growth, start=(w * 0.3, h * 0.25)),
    ]
