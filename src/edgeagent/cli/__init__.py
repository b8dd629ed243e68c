"""The ``edgeagent`` command: parse, build one configuration, call one function, map the outcome to an exit code.

Each group of commands is a module of its own that is imported only when one of its commands runs, and imports what it
needs inside the command, so that ``--help`` stays fast.
"""

from edgeagent.cli.main import main

__all__ = ["main"]
