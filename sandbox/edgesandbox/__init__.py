"""Runs strangers' jobs in namespaces, forked from a zygote; standard library only.

    zygote = Zygote(entry="module:function")
    zygote.start()
    with zygote.spawn(Spec(limits=Limits(wall_s=10))) as box:
        report = box.read_report()

Linux only.  A job is a Python function, called with one end of a socket in a process of its own that sees a private
file tree, no network and nobody else.  ``Report`` says how it ended and what held it in.

The names are imported when they are first used: the zygote needs none of them, and every page it has costs each job.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgesandbox.box import Box
    from edgesandbox.client import Zygote
    from edgesandbox.errors import OutputRefused, SandboxUnavailable, SetupFailed
    from edgesandbox.grant import Grant
    from edgesandbox.outputs import CollectedFile
    from edgesandbox.report import Outcome, Report
    from edgesandbox.spec import Limits, Spec

_HOMES = {
    "Box": "box",
    "CollectedFile": "outputs",
    "Grant": "grant",
    "Limits": "spec",
    "Outcome": "report",
    "OutputRefused": "errors",
    "Report": "report",
    "SandboxUnavailable": "errors",
    "SetupFailed": "errors",
    "Spec": "spec",
    "Zygote": "client",
}

__all__ = [
    "Box",
    "CollectedFile",
    "Grant",
    "Limits",
    "Outcome",
    "OutputRefused",
    "Report",
    "SandboxUnavailable",
    "SetupFailed",
    "Spec",
    "Zygote",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgesandbox.{_HOMES[name]}"), name)
