"""When two results of one job are the same: a rule that the owner sets, or a comparison that he has installed.

A rule is data: fields of the value that may differ (how long it took), and how far numbers may be apart.  What data
cannot say is said by a package with an entry point in the group ``edgeagent.comparisons``: a function of two results
that returns whether they are the same.  The gateway never loads a plugin of the nodes'; what it loads here its owner
has installed beside it, and has named in a policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeGuard

import attrs
import structlog
from attrs.validators import ge, le

from edgeagent.gateway import installed
from edgeagent.gateway.installed import NotInstalledError, UnusableError

log = structlog.get_logger()

GROUP = "edgeagent.comparisons"

#: Fields of the values of the job types that come with edgeagent that tell how fast a machine is.
TIMINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cpu_benchmark": ("seconds",),
        "render": ("seconds",),
        "inference": ("latency_ms",),
    }
)


class Compared(Protocol):
    """What a comparison sees of a result; the bytes of its files are not there."""

    @property
    def value(self) -> Any:
        """What the plugin gave back, as JSON."""

    @property
    def result_ref(self) -> str | None:
        """Where else the plugin says that its result lies."""

    @property
    def outputs(self) -> tuple[Any, ...]:
        """Its files, by name: each has ``name``, ``size_bytes`` and ``sha256``."""
        ...


Same = Callable[[Compared, Compared], bool]


class NoComparisonError(Exception):
    """There is no such comparison here, or it cannot be loaded; the text says which there are, or why."""


@attrs.frozen(kw_only=True)
class Rule:
    """When two results are the same.

    Attributes:
        ignore: fields of the value, when it is an object, that are not compared.
        tolerance: how far two numbers may be apart, as a share of the larger one; 0 compares exactly.
        files: whether the files must have the same contents; otherwise only the same names.
        installed: the name of an installed comparison that decides instead; empty for none.
    """

    ignore: tuple[str, ...] = ()
    tolerance: float = attrs.field(default=0.0, validator=[ge(0), le(1)])
    files: bool = True
    installed: str = ""


def comparison(rule: Rule) -> Same:
    """Return the function that compares by a rule.

    Raises:
        NoComparisonError: see there.
    """
    if rule.installed:
        return _contained(rule.installed, load(rule.installed))

    def same(one: Compared, other: Compared) -> bool:
        return (
            one.result_ref == other.result_ref
            and _files(one, rule.files) == _files(other, rule.files)
            and _alike(_without(one.value, rule.ignore), _without(other.value, rule.ignore), rule.tolerance)
        )

    return same


def load(name: str) -> Same:
    """Return an installed comparison.

    Raises:
        NoComparisonError: see there.
    """
    try:
        loaded: Same = installed.load(GROUP, name)
    except NotInstalledError as error:
        there = ", ".join(error.there) or "none"
        raise NoComparisonError(f"no comparison {name!r} is installed; there are: {there}") from None
    except UnusableError as error:
        raise NoComparisonError(f"the comparison {name!r} cannot be loaded: {error}") from error
    if not callable(loaded):
        raise NoComparisonError(f"the comparison {name!r} is no function")
    return loaded


def _contained(name: str, same: Same) -> Same:
    def careful(one: Compared, other: Compared) -> bool:
        try:
            return bool(same(one, other))
        except Exception as error:  # somebody else's code: it must not take the gateway with it
            log.warning("A comparison failed; the results count as different", comparison=name, reason=repr(error))
            return False

    return careful


def _files(result: Compared, contents: bool) -> list[Any]:
    return [(one.name, one.size_bytes, one.sha256) if contents else one.name for one in result.outputs]


def _without(value: Any, ignore: tuple[str, ...]) -> Any:
    return {name: one for name, one in value.items() if name not in ignore} if isinstance(value, dict) else value


def _alike(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[name], other[name], tolerance) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_alike(*pair, tolerance) for pair in zip(one, other, strict=True))
    if _is_number(one) and _is_number(other):
        return one == other or (tolerance > 0 and _close(one, other, tolerance))
    return type(one) is type(other) and bool(one == other)


def _close(one: float, other: float, tolerance: float) -> bool:
    try:
        return math.isclose(one, other, rel_tol=tolerance)
    except OverflowError:  # a whole number that no float is near
        return False


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
