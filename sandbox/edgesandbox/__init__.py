"""Runs strangers' jobs in namespaces, forked from a zygote; standard library only.

    zygote = Zygote(entry="module:function")
    zygote.start()
    with zygote.spawn(Spec(limits=Limits(wall_s=10))) as box:
        report = box.read_report()

Linux only.  A job is a Python function, called with one end of a socket in a process of its own that sees a private
file tree, no network and nobody else.  ``Report`` says how it ended and what held it in.
"""

from __future__ import annotations

from edgesandbox.client import Box, Zygote
from edgesandbox.collect import CollectedFile, collect
from edgesandbox.errors import OutputRefused, SandboxUnavailable, SetupFailed
from edgesandbox.report import Outcome, Report
from edgesandbox.spec import Limits, Spec

__all__ = [
    "Box",
    "CollectedFile",
    "Limits",
    "Outcome",
    "OutputRefused",
    "Report",
    "SandboxUnavailable",
    "SetupFailed",
    "Spec",
    "Zygote",
    "collect",
]
