"""The plugin ``render``: draws a picture with Mitsuba 3, tile by tile, from a scene that is made by code.

Stacked stones, a glass ball and lanterns on a lake at dusk (scene.py); a seed arranges them anew, and several frames
move the camera.  The same payload gives the same pixels.  Mitsuba and numpy are imported inside ``execute``: they start
threads, and a process that has threads cannot be forked into a sandbox.  Needs the extra ``edgeagent[render]``.
"""

from __future__ import annotations

import importlib.util
import math
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from edgeagent.plugins.base import BaseWorkerPlugin, RejectJob, WorkerResult, current_job
from edgeagent.plugins.fields import only, whole_number

#: What the payload may say: default, lowest, highest.
OPTIONS = {
    "width": (640, 16, 1920),
    "height": (360, 16, 1080),
    "samples": (16, 1, 1024),
    "frames": (1, 1, 24),
    "seed": (1, 0, 2**31 - 1),
}
#: Most paths in one job (width x height x samples x frames).  A slow core traces 300,000 a second, and a job may
#: compute for 300 s.
MAX_PATHS = 60_000_000
#: Largest tile, in pixels: what one step of progress stands for.
TILE = (160, 120)
#: How far the camera goes around from the first frame to the last, in radians.
SWING = math.radians(14)
#: Most threads: below the 256 processes a job may have, whatever the machine.
MAX_THREADS = 64

Tile = tuple[int, int, int, int]  # left, top, width, height


class RenderPlugin(BaseWorkerPlugin):
    """Renders ``frames`` PNG files into the output directory."""

    job_type = "render"
    benchmark: ClassVar[Mapping[str, Any] | None] = {"width": 320, "height": 180, "samples": 16}

    async def execute(self, job_id: uuid.UUID, payload: dict[str, Any]) -> WorkerResult:
        """Return ``{"files", "width", "height", "samples", "frames", "seed", "seconds"}``."""
        options = read_options(payload)
        started = time.perf_counter()
        files, samples = _render(**options)
        value = {"files": files, **options, "samples": samples, "seconds": round(time.perf_counter() - started, 3)}
        return WorkerResult(success=True, value=value)

    @classmethod
    def unavailable(cls) -> str | None:
        """Return a reason where Mitsuba is not installed."""
        if importlib.util.find_spec("mitsuba") is None:
            return "Mitsuba is not installed; type: pip install 'edgeagent[render]'"
        return None


def read_options(payload: dict[str, Any]) -> dict[str, int]:
    """Return all of ``OPTIONS``, with defaults for what the payload does not say.

    Raises:
        RejectJob: an option is unknown, not a whole number or out of range, or all together are too much work.
    """
    only(payload, OPTIONS)
    options = {
        name: whole_number(payload, name, default=default, lowest=lowest, highest=highest)
        for name, (default, lowest, highest) in OPTIONS.items()
    }
    paths = options["width"] * options["height"] * options["samples"] * options["frames"]
    if paths > MAX_PATHS:
        raise RejectJob(f"width x height x samples x frames is at most {MAX_PATHS:,} in one job, not {paths:,}")
    return options


def tiles(width: int, height: int) -> Iterator[Tile]:
    """Yield tiles that cover a picture, row by row, as even in size as they can be."""
    columns, rows = math.ceil(width / TILE[0]), math.ceil(height / TILE[1])
    for row in range(rows):
        top, bottom = height * row // rows, height * (row + 1) // rows
        for column in range(columns):
            left, right = width * column // columns, width * (column + 1) // columns
            yield left, top, right - left, bottom - top


def _render(*, width: int, height: int, samples: int, frames: int, seed: int) -> tuple[list[str], int]:
    report = current_job().progress
    report(0.0, "building the scene")
    import drjit
    import mitsuba as mi
    import numpy as np

    drjit.set_thread_count(min(len(os.sched_getaffinity(0)), MAX_THREADS))
    mi.set_variant("scalar_rgb")  # needs nothing of the host: no GPU, no compiler
    mi.set_log_level(mi.LogLevel.Error)
    from edgeagent.plugins.render import scene

    world = scene.build(seed)
    plan = list(tiles(width, height))
    files, traced = [], samples
    for frame in range(frames):
        swing = SWING * (frame / (frames - 1) - 0.5) if frames > 1 else 0.0
        light = np.zeros((height, width, 3), np.float32)
        for number, tile in enumerate(plan):
            left, top, tile_width, tile_height = tile
            sensor = scene.camera(width, height, tile, samples, swing)
            noise = mi.UInt32((seed * 1_000_003 + frame * len(plan) + number) % 2**32)  # not the same in every tile
            traced = sensor.sampler().sample_count()  # rounded up to what a jittered grid can have
            drawn = np.array(mi.render(world, sensor=sensor, seed=noise))
            light[top : top + tile_height, left : left + tile_width] = drawn
            done = (frame * len(plan) + number + 1) / (frames * len(plan))
            report(done, f"frame {frame + 1} of {frames}, tile {number + 1} of {len(plan)}")
        name = "lake.png" if frames == 1 else f"lake-{frame + 1:02}.png"
        mi.Bitmap(scene.develop(light)).write(str(current_job().output_dir / name))
        files.append(name)
    return files, traced
