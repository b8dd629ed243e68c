"""The faults a person can meet, each with the exit code its command ends with.

A fault that is expected (the gateway is down, a file is unreadable, a token has ended) is one of these classes; its
text is one line that says what is wrong and what to do.  The command line prints it on stderr and exits with
``exit_code``.  Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class EdgeAgentError(Exception):
    """Something went wrong that a person can act on; exit code 1."""

    exit_code = 1


class UsageError(EdgeAgentError):
    """What was asked for makes no sense as written: a bad option, file or setting; exit code 2."""

    exit_code = 2


class RefusedError(EdgeAgentError):
    """The gateway answered, and the answer is no; exit code 3."""

    exit_code = 3


class UnreachableError(EdgeAgentError):
    """The gateway did not answer; exit code 4."""

    exit_code = 4


class UnhealthyError(EdgeAgentError):
    """The node is up and not healthy; exit code 5."""

    exit_code = 5
