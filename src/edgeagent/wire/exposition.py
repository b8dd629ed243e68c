"""Prometheus' text format (version 0.0.4), as the gateway's and the node's figures are written.  Pure.

It is a few lines, so no library is needed for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: What it is called in an answer's headers.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


def family(name: str, kind: str, about: str, samples: Iterable[str]) -> str:
    """Return one metric: what it is, and its samples."""
    return "\n".join([f"# HELP {name} {about}", f"# TYPE {name} {kind}", *samples, ""])


def sample(name: str, value: float, labels: Labels | None = None) -> str:
    """Return one sample."""
    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in (labels or {}).items())
    return f"{name}{{{told}}} {value}" if told else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
