"""How often may somebody ask: token buckets, one for each source, and one for all together where wanted.  Pure.

Memory is bounded by the number of sources remembered: the one that has been quiet longest is forgotten first, which
gives it a full bucket again; the common bucket holds whoever uses many sources.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

import attrs

#: Most sources that are remembered.
MAX_SOURCES = 4096


@attrs.define
class _Bucket:
    left: float
    at: float


@attrs.frozen
class Rate:
    """``burst`` requests at once, and ``per_minute`` from then on."""

    per_minute: float
    burst: float

    @classmethod
    def of(cls, per_minute: float) -> Rate:
        """Return the rate of which a third of a minute's worth may come at once."""
        return cls(per_minute, max(1.0, per_minute / 3))


class Meter:
    """One bucket by itself, for a source that is at hand; its owner says how much something takes."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate, self._bucket = rate, _Bucket(rate.burst, now)

    def take(self, amount: float, now: float) -> bool:
        """Take this much, and return whether it was still there."""
        bucket = _filled(self._bucket, self._rate, now)
        bucket.left -= amount
        return bucket.left >= 0


class Limiter:
    """Decides who may go on.

    Args:
        each: what one source may do.
        together: what all sources may do; None for as much as there are sources.
    """

    def __init__(self, each: Rate, together: Rate | None = None) -> None:
        self._each, self._together = each, together
        self._all: _Bucket | None = None
        self._sources: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sources)

    def wait_s(self, source: str, now: float, cost: float = 1.0) -> float:
        """Count a request and return 0, or return how many seconds to wait before the next try, and count nothing.

        Args:
            source: whoever asks, see ``source_of``.
            now: seconds on the caller's monotonic clock.
            cost: how many usual requests it stands for; never more than a full bucket.
        """
        own = _filled(self._sources.get(source), self._each, now)
        wait_s = _missing_s(own, self._each, cost)
        if self._together is not None:
            self._all = _filled(self._all, self._together, now)
            wait_s = max(wait_s, _missing_s(self._all, self._together, cost))
        if wait_s <= 0:
            own.left -= min(cost, self._each.burst)
            if self._all is not None and self._together is not None:
                self._all.left -= min(cost, self._together.burst)
            self._sources[source] = own
            self._sources.move_to_end(source)
            if len(self._sources) > MAX_SOURCES:
                self._sources.popitem(last=False)
        return max(0.0, wait_s)


def source_of(address: str) -> str:
    """Return what counts as one source: an IPv4 address, or an IPv6 network of 64 bits, which is one customer's."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _filled(bucket: _Bucket | None, rate: Rate, now: float) -> _Bucket:
    if bucket is None:
        return _Bucket(rate.burst, now)
    bucket.left = min(rate.burst, bucket.left + (now - bucket.at) * rate.per_minute / 60)
    bucket.at = now
    return bucket


def _missing_s(bucket: _Bucket, rate: Rate, cost: float) -> float:
    return max(0.0, min(cost, rate.burst) - bucket.left) * 60 / rate.per_minute
