"""The picture: the same for the same seed, whole, lit, and never larger than asked."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from plugin_jobs import Ran, run_job

from edgeagent.plugins.base import RejectJob
from edgeagent.plugins.render import MAX_PATHS, TILE, read_options, tiles

np = pytest.importorskip("numpy")
pytest.importorskip("mitsuba")

TINY = {"width": 96, "height": 54, "samples": 2, "seed": 3}


def pixels(path: Path) -> Any:
    """Return a PNG file's pixels (height, width, 3), checking every part of it."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, parts = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, at + 8 + length)[0]
        parts.append((kind, body))
        at += 12 + length
    assert (b"IEND", b"") == parts[-1]
    width, height, *form = struct.unpack(">IIBBBBB", dict(parts)[b"IHDR"])
    assert [8, 2, 0, 0, 0] == form  # 8 bits, RGB, not interlaced
    rows = np.frombuffer(zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT")), np.uint8)
    return _unfilter(rows.reshape(height, 1 + 3 * width)).reshape(height, width, 3)


def _unfilter(rows: Any) -> Any:
    """Undo PNG's prediction of each byte from its neighbours: https://www.w3.org/TR/png/#9Filter-types"""
    out = np.zeros((len(rows) + 1, rows.shape[1] + 2), np.int64)  # a pixel and a row of zeros before the first
    for number, row in enumerate(rows, start=1):
        for at, byte in enumerate(row[1:].tolist(), start=3):
            left, above, corner = int(out[number, at - 3]), int(out[number - 1, at]), int(out[number - 1, at - 3])
            nearest = min((left, above, corner), key=lambda value: abs(left + above - corner - value))
            out[number, at] = (byte + (0, left, above, (left + above) // 2, nearest)[row[0]]) % 256
    return out[1:, 3:]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One small picture, rendered once."""
    return run_job(tmp_path_factory.mktemp("render"), "render", TINY)


def test_the_result_names_the_picture(tiny: Ran) -> None:
    """And says what it took."""
    value = tiny.done.value

    assert {"files": ["lake.png"], **TINY, "frames": 1} == {key: value[key] for key in value if key != "seconds"}
    assert value["seconds"] > 0
    assert ["lake.png"] == [file.name for file in (tiny.scratch / "output").iterdir()]
    assert "" == tiny.printed


def test_the_picture_is_one_to_look_at(tiny: Ran) -> None:
    """A warm sky with a sun over a darker lake; lanterns glow; nothing is missing."""
    picture = pixels(tiny.scratch / "output" / "lake.png").astype(float)
    sky, lake = picture[:15], picture[20:]

    assert (54, 96, 3) == picture.shape
    assert sky.mean() > 1.3 * lake.mean()
    assert sky[..., 0].mean() > sky[..., 2].mean()
    assert 255 == picture.max()
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000


def test_the_same_seed_gives_the_same_pixels(tiny: Ran, tmp_path: Path) -> None:
    """Bit for bit, so that two nodes' results can be compared."""
    run_job(tmp_path, "render", TINY)

    assert (tiny.scratch / "output/lake.png").read_bytes() == (tmp_path / "output/lake.png").read_bytes()


def test_another_seed_gives_another_picture(tiny: Ran, tmp_path: Path) -> None:
    """Also seen in the frames, which differ from one another."""
    ran = run_job(tmp_path, "render", {**TINY, "seed": 4, "frames": 2})

    assert ["lake-01.png", "lake-02.png"] == ran.done.value["files"]
    pictures = [tiny.scratch / "output/lake.png", *(tmp_path / "output" / name for name in ran.done.value["files"])]
    assert 3 == len({picture.read_bytes() for picture in pictures})
    assert (1.0, "frame 2 of 2, tile 1 of 1") == (ran.progress[-1].fraction, ran.progress[-1].text)


def test_progress_moves_with_the_tiles(tmp_path: Path) -> None:
    """A picture of four tiles says so, and none of its rows or columns was left out."""
    ran = run_job(tmp_path, "render", {"width": 200, "height": 130, "samples": 1})

    assert "building the scene" == ran.progress[0].text
    assert (1.0, "frame 1 of 1, tile 4 of 4") == (ran.progress[-1].fraction, ran.progress[-1].text)
    lit = pixels(tmp_path / "output/lake.png").any(axis=2)  # with one sample, dark water has black pixels
    assert min(lit.mean(axis=0).min(), lit.mean(axis=1).min()) > 0.5


@pytest.mark.parametrize("size", [(16, 16), (160, 120), (161, 121), (640, 360), (1920, 1080), (17, 1080)])
def test_tiles_cover_every_pixel_once(size: tuple[int, int]) -> None:
    """And none is larger than a tile."""
    width, height = size
    covered = np.zeros((height, width), int)
    for left, top, tile_width, tile_height in tiles(width, height):
        assert 0 < tile_width <= TILE[0]
        assert 0 < tile_height <= TILE[1]
        covered[top : top + tile_height, left : left + tile_width] += 1

    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"width": 15}, "width is a whole number from 16 to 1,920, not 15"),
        ({"height": 1081}, "height is a whole number from 16 to 1,080, not 1,081"),
        ({"samples": 0}, "samples is a whole number from 1 to 1,024, not 0"),
        ({"frames": 25}, "frames is a whole number from 1 to 24, not 25"),
        ({"seed": -1}, "seed is a whole number from 0 to 2,147,483,647, not -1"),
        ({"seed": 1.5}, "seed is a whole number from 0 to 2,147,483,647, not 1.5"),
        ({"scene": "cornell"}, "unknown field 'scene'; this job takes: width, height, samples, frames, seed"),
        (
            {"width": 1920, "height": 1080, "samples": 64},
            "width x height x samples x frames is at most 60,000,000 in one job, not 132,710,400",
        ),
    ],
)
def test_a_bad_option_is_refused_with_its_range(payload: dict[str, Any], error: str) -> None:
    """Before anything heavy is imported."""
    with pytest.raises(RejectJob) as refused:
        read_options(payload)

    assert error == str(refused.value)


def test_the_defaults_fit_into_one_job() -> None:
    """With room for several frames."""
    options = read_options({})

    assert {"width": 640, "height": 360, "samples": 16, "frames": 1, "seed": 1} == options
    assert 640 * 360 * 16 * 10 < MAX_PATHS


def test_a_refusal_reaches_the_submitter(tmp_path: Path) -> None:
    """As one line, and for good."""
    done = run_job(tmp_path, "render", {"width": "640"}).done

    assert (False, False) == (done.success, done.retryable)
    assert "width is a whole number from 16 to 1,920, not '640'" == done.error
