"""Triangle meshes made by numpy: pebbles, lanterns, leaves, petals and water, for the scene that ``render`` draws.

Each function returns points (n, 3), faces (m, 3) and whatever else the shape has; ``mesh`` turns them into a Mitsuba
shape.  The unit is the metre, y points up, the camera looks along -z.  Everything random comes from the generator that
is passed in, so a seed gives the same meshes every time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import mitsuba as mi
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def mesh(points: Array, faces: Array, *, colors: Array | None = None, uv: Array | None = None, **children: Any) -> Any:
    """Return a smooth Mitsuba mesh.

    Args:
        points: (n, 3) positions.
        faces: (m, 3) indices into them.
        colors: (n, 3) reflectances, read by a ``mesh_attribute`` texture named ``vertex_color``.
        uv: (n, 2) texture coordinates.
        children: dictionaries for ``mitsuba.load_dict``, such as ``bsdf`` or ``emitter``.
    """
    properties = mi.Properties()
    for name, child in children.items():
        properties[name] = mi.load_dict(child)
    shape = mi.Mesh("mesh", len(points), len(faces), properties, True, uv is not None)
    if colors is not None:
        shape.add_attribute("vertex_color", 3, np.asarray(colors, np.float32).ravel().tolist())
    parameters = mi.traverse(shape)
    parameters["vertex_positions"] = np.ascontiguousarray(points, np.float32).ravel()
    parameters["faces"] = np.ascontiguousarray(faces, np.uint32).ravel()
    if uv is not None:
        parameters["vertex_texcoords"] = np.ascontiguousarray(uv, np.float32).ravel()
    parameters.update()
    return shape


def merge(parts: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
    """Join shapes into one: faces, the second of each part, are renumbered, all else is put end to end."""
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    shifted = [(part[0], part[1] + start, *part[2:]) for part, start in zip(parts, starts, strict=False)]
    return tuple(np.concatenate(column) for column in zip(*shifted, strict=True))


def turn(points: Array, yaw: float, tilt: float = 0.0) -> Array:
    """Turn points around x by ``tilt``, then around y by ``yaw``, both in radians."""
    ct, st, cy, sy = math.cos(tilt), math.sin(tilt), math.cos(yaw), math.sin(yaw)
    x, y, z = points.T
    y, z = ct * y - st * z, st * y + ct * z
    return np.stack([cy * x + sy * z, y, cy * z - sy * x], -1)


def sheet(rows: Array, *, closed: bool = False) -> tuple[Array, Array]:
    """Return the surface through a grid of points (rows, columns, 3); ``closed`` joins the last column to the first."""
    count, width = rows.shape[:2]
    column = np.arange(width if closed else width - 1)
    row = np.arange(count - 1)[:, None] * width
    a, b = row + column, row + (column + 1) % width
    faces = np.stack([np.stack([a, a + width, b], -1), np.stack([b, a + width, b + width], -1)])
    return rows.reshape(-1, 3), faces.reshape(-1, 3)


def lumps(rng: np.random.Generator, points: Array, frequencies: tuple[float, ...], size: float) -> Array:
    """Return smooth noise at each point: waves in random directions, weaker where they are finer."""
    total = np.zeros(len(points))
    for frequency in frequencies:
        for _ in range(5):
            direction = rng.standard_normal(3)
            direction *= frequency / np.linalg.norm(direction)
            total += np.cos(points @ direction + rng.uniform(0, 2 * math.pi)) * size / frequency
    return total


def pebble(rng: np.random.Generator, size: tuple[float, float, float], roughness: float = 0.1) -> tuple[Array, ...]:
    """Return points, faces and a shade per point (about 1) of a stone worn round; ``size`` is its three radii."""
    polar, around = np.linspace(0, math.pi, 49), np.arange(72) / 72 * 2 * math.pi
    ring = np.stack([np.cos(around), np.zeros_like(around), np.sin(around)], -1)
    grid = np.sin(polar)[:, None, None] * ring + np.cos(polar)[:, None, None] * np.array([0.0, 1.0, 0.0])
    sphere, faces = sheet(grid, closed=True)
    # Flatter than an ellipsoid, as water leaves stones: |x|^p + |y|^p + |z|^p = 1.
    points = sphere / (np.abs(sphere) ** 2.5).sum(1, keepdims=True) ** (1 / 2.5)
    points = (
        points * (1 + lumps(rng, sphere, (1.6, 2.7), roughness) + lumps(rng, sphere, (5, 9), roughness / 4))[:, None]
    )
    shade = 1 + lumps(rng, sphere, (3, 7), 0.45) + 0.1 * rng.standard_normal(len(sphere))
    vein = np.exp(-((lumps(rng, sphere, (2.2,), 1.2) / 0.05) ** 2))
    return turn(points * np.array(size), rng.uniform(0, 2 * math.pi)), faces[:, ::-1], shade + 1.5 * vein


def lantern(scale: float, yaw: float) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return a floating paper lantern: its shade as points, faces and uv (v runs down it), and its wooden base."""
    around = np.arange(48) / 48 * 2 * math.pi
    square = (np.abs(np.cos(around)) ** 4 + np.abs(np.sin(around)) ** 4) ** -0.25
    ring = np.stack([np.cos(around) * square, np.zeros(48), np.sin(around) * square], -1)

    def stack(radii: tuple[float, ...], heights: tuple[float, ...]) -> tuple[Array, Array]:
        rows = np.array(radii)[:, None, None] * ring + np.array(heights)[:, None, None] * np.array([0.0, 1.0, 0.0])
        points, faces = sheet(rows, closed=True)
        return turn(points * scale, yaw), faces

    shade, shade_faces = stack((0.72, 0.78, 0.81, 0.79, 0.74), (0.2, 0.4, 1.0, 1.8, 2.2))
    uv = np.stack([np.full(len(shade), 0.5), 1.1 - shade[:, 1] / scale / 2.0], -1)
    return (shade, shade_faces, uv), stack((0.01, 0.95, 0.95, 0.01), (-0.1, -0.1, 0.16, 0.16))


def lily_pad(rng: np.random.Generator, radius: float) -> tuple[Array, ...]:
    """Return points, faces and a shade per point of a round floating leaf with its notch."""
    around = np.linspace(0.16, 2 * math.pi - 0.16, 49)
    out = np.linspace(0.02, 1, 9)[:, None]
    edge = 1 + 0.02 * np.cos(9 * around + rng.uniform(0, 6))
    lift = 0.02 * out**6 + 0.008 * out**2 * np.cos(5 * around + rng.uniform(0, 6))
    rows = np.stack([out * edge * np.cos(around), lift, out * edge * np.sin(around)], -1) * radius
    points, faces = sheet(rows)
    veins = np.broadcast_to(1 + 0.22 * np.cos(18 * around) ** 16 - 0.25 * out, lift.shape).ravel()
    return turn(points, rng.uniform(0, 2 * math.pi)), faces[:, ::-1], veins


def lotus(rng: np.random.Generator, size: float) -> tuple[Array, ...]:
    """Return points, faces and, per point, how far out on its petal it is (0 to 1), of an open flower."""
    along, across = np.linspace(0.02, 0.98, 15)[:, None], np.linspace(-1, 1, 9)
    width = 0.36 * np.sin(math.pi * along**0.8) ** 0.8 * (1 - 0.3 * along)
    parts = []
    for count, tilt, length in ((5, 1.25, 0.62), (8, 0.95, 0.85), (10, 0.6, 1.0), (9, 0.24, 1.0)):
        for number in range(count):
            rise = 0.2 * along**2 + 0.5 * (across * width) ** 2 / 0.36
            petal = np.stack([across * width, rise + 0 * across, along + 0 * across], -1) * size * length
            yaw = (number + 0.5 * (count % 2)) / count * 2 * math.pi + rng.uniform(-0.08, 0.08)
            points, faces = sheet(petal)
            points = turn(points, yaw, -tilt - rng.uniform(-0.06, 0.06))
            parts.append((points, faces, np.broadcast_to(along, petal.shape[:2]).ravel()))
    return merge(parts)


def water(rng: np.random.Generator, eye: tuple[float, float], rings: list[tuple[float, float]]) -> tuple[Array, Array]:
    """Return the rippled surface as seen from ``eye`` (x, z), with rings around what stands in it.

    The grid is finest near the eye and coarsens with distance, and a ripple fades out before the grid gets too coarse
    for it: far water is calm instead of noisy.
    """
    radius = np.geomspace(0.8, 400, 400)[:, None]
    angle = np.linspace(-0.75, 0.75, 420)
    x, z = eye[0] + radius * np.sin(angle), eye[1] - radius * np.cos(angle)
    cell = radius * math.log(500) / 400
    height = np.zeros_like(x)
    for length in np.geomspace(0.22, 3.2, 36):
        heading = rng.normal(0, 0.5)
        k = 2 * math.pi / length
        fade = np.clip(length / (3 * cell) - 1, 0, 1) / (1 + (radius / 18) ** 2)
        height += (
            0.0024 * length * fade * np.cos(k * (x * math.sin(heading) + z * math.cos(heading)) + rng.uniform(0, 7))
        )
    for at_x, at_z in rings:
        away = np.hypot(x - at_x, z - at_z)
        height += (
            0.0035 * np.cos(2 * math.pi * away / 0.2) * np.exp(-((away / 1.1) ** 2)) * np.clip(0.1 / cell - 1, 0, 1)
        )
    return sheet(np.stack([x, height, z], -1)[:, ::-1])
