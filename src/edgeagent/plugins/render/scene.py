"""The picture that ``render`` draws: stacked stones, a glass ball and paper lanterns on a lake at dusk.

``build`` returns the scene and ``camera`` one view of one tile of it.  A seed moves the stones, lanterns, ripples,
hills and clouds; the composition stays.  Imported only inside a job: Mitsuba starts threads.
"""

from __future__ import annotations

import math
from typing import Any

import mitsuba as mi
import numpy as np

from edgeagent.plugins.render import shapes, sky

#: Where the camera stands and looks, in metres; y is up.
EYE = (0.15, 1.05, 6.0)
TARGET = (0.15, 0.74, 0.0)
#: Brightness of the picture.
EXPOSURE = 0.74
#: Stones of the pile, from below: radius, half height, colour.
PILE = (
    (0.62, 0.22, "5a6570"), (0.45, 0.155, "a3907f"), (0.35, 0.125, "48535e"),
    (0.26, 0.105, "bba893"), (0.17, 0.08, "66707a"), (0.1, 0.07, "d9c8b4"),
)  # fmt: skip
PILE_AT = (-1.0, 0.1)
#: Single stones: x, z, radius, half height, colour.
STONES = (
    (0.58, 0.5, 0.5, 0.13, "5d666e"), (1.7, -0.9, 0.42, 0.18, "46525d"), (-2.35, -1.3, 0.6, 0.28, "566069"),
    (1.5, 1.25, 0.24, 0.09, "4c5863"), (-1.75, 0.95, 0.22, 0.09, "8f8173"), (2.7, -2.6, 0.5, 0.2, "525d67"),
    (0.2, -0.75, 0.2, 0.09, "8a7a6c"),
)  # fmt: skip
LANTERNS = ((1.85, 0.05), (-0.2, -2.4), (2.4, -5.0), (-2.9, -4.4), (0.6, -8.5), (-1.9, -12.0), (4.6, -10.0))
PADS = (
    (-0.28, 1.3, 0.26),
    (0.12, 1.5, 0.16),
    (-0.62, 1.6, 0.2),
    (-0.02, 1.02, 0.13),
    (1.75, 1.75, 0.17),
    (1.45, 1.95, 0.11),
)
LOTUS_AT = (-0.3, 1.28)


def build(seed: int) -> Any:
    """Return the Mitsuba scene for ``seed``.  Takes about a second."""
    rng = np.random.default_rng(seed)
    parts: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 6, "rr_depth": 4},
        "sky": {"type": "envmap", "bitmap": mi.Bitmap(sky.paint(rng)), "sampling_weight": 3.0},
        "ball": {"type": "sphere", "center": [0.58, 0.405, 0.5], "radius": 0.3, "bsdf": {"type": "dielectric"}},
        "copper": {
            "type": "sphere", "center": [1.08, 0.125, 1.2], "radius": 0.135,
            "bsdf": {"type": "roughconductor", "material": "Cu", "alpha": 0.08},
        },
    }  # fmt: skip
    parts |= _water(rng) | _stones(rng) | _lanterns(rng) | _flowers(rng)
    return mi.load_dict(parts)


def camera(width: int, height: int, tile: tuple[int, int, int, int], samples: int, swing: float) -> Any:
    """Return a sensor for one tile (left, top, width, height) of a picture; ``swing`` turns it around, in radians."""
    left, top, tile_width, tile_height = tile
    x, z = EYE[0] - TARGET[0], EYE[2] - TARGET[2]
    eye = [
        TARGET[0] + x * math.cos(swing) + z * math.sin(swing),
        EYE[1],
        TARGET[2] + z * math.cos(swing) - x * math.sin(swing),
    ]
    film = {
        "type": "hdrfilm", "width": width, "height": height, "pixel_format": "rgb", "rfilter": {"type": "box"},
        "crop_offset_x": left, "crop_offset_y": top, "crop_width": tile_width, "crop_height": tile_height,
    }  # fmt: skip
    return mi.load_dict(
        {
            "type": "thinlens",
            "fov": 38.0,
            "fov_axis": "x",
            "aperture_radius": 0.009,
            "focus_distance": 5.6,
            "to_world": mi.ScalarTransform4f().look_at(origin=eye, target=list(TARGET), up=[0, 1, 0]),
            "film": film,
            "sampler": {"type": "multijitter", "sample_count": samples},
        }
    )


def develop(light: Any) -> Any:
    """Return the rendered light (height, width, 3) as 8-bit sRGB: exposed, rolled off like film, encoded."""
    x = np.maximum(np.asarray(light, np.float32), 0) * EXPOSURE
    # K. Narkowicz's fit of the ACES film curve: https://knarkowicz.wordpress.com/2016/01/06/
    x = np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)
    return (np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055) * 255 + 0.5).astype(np.uint8)


def _rgb(code: str) -> dict[str, Any]:
    return {"type": "rgb", "value": sky.linear(code).tolist()}


def _painted(roughness: float, specular: float = 0.5) -> dict[str, Any]:
    """Return a surface whose colour is each point's own."""
    color = {"type": "mesh_attribute", "name": "vertex_color"}
    return {"type": "principled", "base_color": color, "roughness": roughness, "specular": specular}


def _water(rng: np.random.Generator) -> dict[str, Any]:
    # With k = 0 the conductor's Fresnel formula is water's; what is not reflected is swallowed by the depth.
    surface = {"type": "conductor", "eta": 1.33, "k": 0.0}
    rings = [PILE_AT, *((x, z) for x, z, radius, *_ in STONES if radius > 0.3), LANTERNS[0]]
    points, faces = shapes.water(rng, (EYE[0], EYE[2]), rings)
    floor = mi.ScalarTransform4f().translate([0, -0.05, 0]).rotate([1, 0, 0], -90).scale([500, 500, 1])
    return {
        "water": shapes.mesh(points, faces, bsdf=surface),
        "beyond": {"type": "rectangle", "to_world": floor, "bsdf": surface},  # what the camera does not see directly
    }


def _stones(rng: np.random.Generator) -> dict[str, Any]:
    parts = []

    def add(x: float, y: float, z: float, radius: float, half_height: float, code: str) -> None:
        points, faces, shade = shapes.pebble(rng, (radius, half_height, radius * rng.uniform(0.82, 0.95)))
        parts.append((points + np.array([x, y, z]), faces, np.clip(sky.linear(code) * shade[:, None], 0.01, 0.9)))

    y = -0.07
    for number, (radius, half_height, code) in enumerate(PILE):
        x, z = rng.uniform(-0.04, 0.04, 2) if number else (0.0, 0.0)
        add(PILE_AT[0] + x, y + 0.9 * half_height, PILE_AT[1] + z, radius, half_height, code)
        y += 1.72 * half_height
    for x, z, radius, half_height, code in STONES:
        add(x, 0.0, z, radius, half_height, code)
    points, faces, colors = shapes.merge(parts)
    return {"stones": shapes.mesh(points, faces, colors=colors, bsdf=_painted(0.32))}


def _lanterns(rng: np.random.Generator) -> dict[str, Any]:
    shades, bases = [], []
    for x, z in LANTERNS:
        (points, faces, uv), (base, base_faces) = shapes.lantern(0.2, rng.uniform(0, 1.5))
        place = np.array([x + rng.uniform(-0.1, 0.1), 0.03, z + rng.uniform(-0.1, 0.1)])
        shades.append((points + place, faces, uv))
        bases.append((base + place, base_faces))
    # Brightest where the candle is, a third up; one mesh, so that all lanterns are one light to choose among.
    heights = np.linspace(0, 1, 32)
    glow = np.interp(heights, [0, 0.1, 0.6, 0.85, 1], [0.3, 0.4, 1.0, 0.9, 0.55])
    ramp = np.array([1.9, 0.62, 0.12]) * glow[:, None] ** np.array([1.0, 1.25, 1.6])
    picture = mi.Bitmap(ramp.astype(np.float32).reshape(32, 1, 3))
    light = {"type": "area", "radiance": {"type": "bitmap", "bitmap": picture, "raw": True, "wrap_mode": "clamp"}}
    points, faces, uv = shapes.merge(shades)
    wood, wood_faces = shapes.merge(bases)
    return {
        "paper": shapes.mesh(
            points, faces, uv=uv, emitter=light, bsdf={"type": "diffuse", "reflectance": _rgb("e0c8a0")}
        ),
        "wood": shapes.mesh(wood, wood_faces, bsdf={"type": "diffuse", "reflectance": _rgb("4a3428")}),
    }


def _flowers(rng: np.random.Generator) -> dict[str, Any]:
    pads = []
    for x, z, radius in PADS:
        points, faces, shade = shapes.lily_pad(rng, radius)
        pads.append((points + np.array([x, 0.012, z]), faces, sky.linear("4f8a4a") * shade[:, None]))
    points, faces, colors = shapes.merge(pads)
    petals, petal_faces, out = shapes.lotus(rng, 0.22)
    pink = sky.linear("fff0e6") * (1 - out[:, None]) + sky.linear("ff86b0") * out[:, None]
    color = {"type": "mesh_attribute", "name": "vertex_color"}
    # Thin, so that the sun behind them shines through.
    petal = {"type": "principledthin", "base_color": color, "roughness": 0.6, "diff_trans": 1.0, "eta": 1.3}
    return {
        "pads": shapes.mesh(points, faces, colors=colors, bsdf=_painted(0.35)),
        "lotus": shapes.mesh(petals + np.array([LOTUS_AT[0], 0.04, LOTUS_AT[1]]), petal_faces, colors=pink, bsdf=petal),
    }
