"""The sky of the rendered scene as one picture all around: dusk, a low sun, clouds, and ridges behind one another.

Everything far away lies in this picture; it is also the light.  Angles are in radians, colours are linear RGB.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Where the sun stands: degrees right of the view's middle, degrees above the water.
SUN_DEG = (9.0, 3.3)
#: Elevation in degrees and colour there, from straight down to straight up.
GRADIENT = (
    (-90, "1b2a33"), (-1, "8a7f7c"), (0, "ffc896"), (2.5, "fbac86"), (5.5, "d8929a"),
    (9, "9a8fb4"), (14, "6b8fbd"), (30, "4a7cb4"), (90, "2b5590"),
)  # fmt: skip
RIDGES = 5
#: Pixels around the whole horizon.  The lens blurs what is far by a fifth of a degree, so more would hardly be seen.
WIDTH = 2048


def linear(code: str) -> Array:
    """Return the linear RGB of an sRGB colour such as ``"ffc896"``."""
    value = np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def paint(rng: np.random.Generator) -> Array:
    """Return the picture, (height, width, 3), for Mitsuba's ``envmap``; column 0 lies straight ahead, along -z."""
    height = WIDTH // 2
    around = ((np.arange(WIDTH, dtype=np.float32) + 0.5) / WIDTH * 2 * math.pi)[None, :]
    up = (math.pi / 2 - (np.arange(height, dtype=np.float32) + 0.5) / height * math.pi)[:, None]
    stops = np.radians([degrees for degrees, _ in GRADIENT])
    colors = np.array([linear(code) for _, code in GRADIENT])
    column = np.stack([np.interp(up[:, 0], stops, colors[:, channel]) for channel in range(3)], -1)
    picture = np.repeat(column[:, None, :].astype(np.float32), WIDTH, axis=1)
    # All that is not plain gradient lies between the water and 40 degrees.
    band = slice(int(height * 50 / 180), int(height * 91 / 180))
    view, up = picture[band], up[band]
    aside = (around - math.radians(SUN_DEG[0]) + math.pi) % (2 * math.pi) - math.pi
    _clouds(rng, view, up, aside)
    _sun(view, up, aside)
    for number in range(RIDGES):
        _ridge(rng, view, up, around, aside, number / (RIDGES - 1))
    return picture


def _mix(view: Array, color: Array, share: Array) -> None:
    view += (color - view) * share[..., None]


def _clouds(rng: np.random.Generator, view: Array, up: Array, aside: Array) -> None:
    rows, columns = view.shape[:2]
    noise = rng.standard_normal((rows, columns), dtype=np.float32)
    fy, fx = np.fft.fftfreq(rows)[:, None] * rows, np.fft.rfftfreq(columns)[None] * columns
    spectrum = (np.hypot(fy, fx / 4) + 3) ** -1.8  # fractal, stretched along the horizon
    noise = np.fft.irfft2(np.fft.rfft2(noise) * spectrum, s=noise.shape).astype(np.float32)
    noise = (noise - noise.mean()) / noise.std()
    cover = 0.9 / (1 + np.exp(-4.0 * (noise - 0.35))) * np.exp(-(((up - math.radians(8)) / math.radians(7)) ** 2))
    near = np.exp(-((aside / math.radians(32)) ** 2))[..., None]
    _mix(view, linear("b0708c") * (0.6 + 0.5 * near) + linear("ff8a50") * near * 0.9, cover)


def _sun(view: Array, up: Array, aside: Array) -> None:
    away = np.hypot(aside * np.cos(up), up - math.radians(SUN_DEG[1]))
    glow = 0.75 * np.exp(-((away / math.radians(13)) ** 1.3)) + 1.3 * np.exp(-((away / math.radians(4.5)) ** 1.5))
    view += glow[..., None] * linear("ffab5e")
    disc = 1 / (1 + np.exp(np.clip((away - math.radians(1.1)) / math.radians(0.08), -50, 50)))
    view += disc[..., None] * np.array([24, 13, 5], np.float32)


def _ridge(rng: np.random.Generator, view: Array, up: Array, around: Array, aside: Array, near: float) -> None:
    """Draw one chain of hills; ``near`` is 0 for the farthest, 1 for the nearest, which has trees."""
    low = 3 + round(12 * near)
    rough = _fractal(rng, around, low, 60 + round(200 * near), 1.25)
    height = np.radians(5.2 * (1 - near) ** 1.2 + 1.2 + (1.05 * (1 - near) + 0.3) * rough)
    height *= 1 - (0.55 - 0.25 * near) * np.exp(-((aside / math.radians(13)) ** 2))  # a valley where the sun goes down
    if near == 1:
        place = around * WIDTH / (2 * math.pi) / 5
        tree = rng.uniform(0.25, 1, int(place.max()) + 1)[place.astype(int)]
        wood = np.clip(0.6 + 0.6 * _fractal(rng, around, 4, 30, 1), 0.1, 1)
        height = 0.8 * height + np.radians(1.1) * tree * wood * (1 - np.abs(place % 1 - 0.5) * 2)
    height = np.maximum(height, math.radians(0.25))
    inside = 1 / (1 + np.exp(np.clip((up - height) / math.radians(0.07), -50, 50)))
    share = 1 - (1 - near) ** 1.1
    body = linear("9d8aa8") * (1 - share) + linear("16303f") * share
    mist = np.exp(-np.maximum(up, 0) / (math.radians(1.0) * (1.45 - near)))[..., None] * (0.85 - 0.4 * near)
    lit = linear("f6b694") * (0.42 + 0.65 * np.exp(-((aside / math.radians(22)) ** 2)))[..., None]
    _mix(view, body * (1 - mist) + lit * mist, inside)


def _fractal(rng: np.random.Generator, around: Array, low: int, high: int, fall: float) -> Array:
    """Return a random curve around the horizon, about -1 to 1, of waves that fit it ``low`` to ``high`` times."""
    count = np.arange(low, high, dtype=np.float32)[:, None]
    size = count**-fall
    waves = size * np.cos(count * around + rng.uniform(0, 2 * math.pi, count.shape))
    return np.asarray(waves.sum(0, keepdims=True) / np.sqrt((size**2).sum() / 2) * 0.55, np.float32)
