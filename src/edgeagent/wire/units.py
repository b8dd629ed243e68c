"""Money and sizes as integers, and how people write them.

Credits travel and are stored as whole micro-credits (names end in ``_ucr``), sizes as bytes, durations as float
seconds (``_s``).  Only what a person reads or types is turned into another unit, and only here.
"""

from __future__ import annotations

import re

UCR_PER_CREDIT = 1_000_000

_CREDITS = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]{1,12})(\.(?P<part>[0-9]{1,6}))?")
_SIZE = re.compile(r"(?P<number>[0-9]{1,15})\s*(?P<unit>[KMGT]?)(?:i?B)?", re.IGNORECASE)
_SPAN = re.compile(r"(?:(?P<d>[0-9]{1,5})d)?(?:(?P<h>[0-9]{1,6})h)?(?:(?P<m>[0-9]{1,7})m)?(?:(?P<s>[0-9]{1,9})s?)?")
_UNIT_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_UNIT_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def credits_to_ucr(text: str) -> int:
    """Return the micro-credits that a person's number of credits stands for: ``10``, ``0.5``, ``-1.25``.

    Raises:
        ValueError: not a number, out of any sensible range, or finer than a micro-credit.
    """
    match = _CREDITS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a number of credits; write for example 1000 or 0.5")
    ucr = int(match["whole"]) * UCR_PER_CREDIT + int((match["part"] or "").ljust(6, "0"))
    return -ucr if match["sign"] else ucr


def format_credits(ucr: int) -> str:
    """Return micro-credits as the shortest exact number of credits: ``10``, ``0.5``, ``-1.25``."""
    whole, part = divmod(abs(ucr), UCR_PER_CREDIT)
    digits = f"{whole}.{part:06d}".rstrip("0").rstrip(".")
    return f"-{digits}" if ucr < 0 else digits


def parse_size(text: str) -> int:
    """Return the bytes that a person's size stands for: ``64M``, ``2GiB``, ``512``; units are powers of 1024.

    Raises:
        ValueError: not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write for example 512M or 2G")
    return int(match["number"]) * _UNIT_BYTES[match["unit"].upper()]


def format_size(size_bytes: int) -> str:
    """Return bytes as a person reads them: ``0 B``, ``1.5 KiB``, ``12 MiB``."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def parse_duration(text: str) -> float:
    """Return the seconds that a person's duration stands for: ``90``, ``90s``, ``5m``, ``1h30m``, ``2d``.

    Raises:
        ValueError: not a duration.
    """
    match = _SPAN.fullmatch("".join(text.split()).lower())
    if match is None or not any(match.groups()):
        raise ValueError(f"{text[:40]!r} is not a duration; write for example 90s, 5m or 1h30m")
    return float(sum(int(match[unit] or 0) * seconds for unit, seconds in _UNIT_S.items()))


def format_duration(seconds: float) -> str:
    """Return seconds as a person reads them, to the second: ``0s``, ``5m``, ``1h30m``, ``2d``."""
    rest, parts = round(seconds), []
    for unit, size in _UNIT_S.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
