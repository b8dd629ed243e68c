"""What can go wrong with the sandbox itself; a job that fails is never one of these, it is a Report.

Each text is one line for the person who runs the machine.
"""

from __future__ import annotations


class SandboxUnavailable(Exception):  # noqa: N818 - reads as the state of the host that it describes
    """This host cannot confine a job; the text says what is missing and what to type."""


class NamespacesRefused(SandboxUnavailable):
    """The kernel, or whoever filters calls to it, gives no namespaces: tier C would be left."""


class SetupFailed(Exception):  # noqa: N818 - the name that reports use for the same outcome
    """One sandbox could not be built; nothing of it is left."""


class OutputRefused(Exception):  # noqa: N818 - says what happened to the files
    """The files a job left behind are not plain files in one flat directory within the limits."""
