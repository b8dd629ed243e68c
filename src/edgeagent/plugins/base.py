"""The interface between a plugin and the process that runs it.

A plugin is a class with a ``job_type`` and one coroutine, ``execute``.  It runs in a process of its own that dies with
the job, so it may block, import heavy libraries and leak as it likes.  What it needs to know about the job beyond its
payload comes from ``current_job()``, so that ``execute`` keeps the operator guide's two arguments.
"""

from __future__ import annotations

import abc
import contextvars
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs


class RejectJob(Exception):  # noqa: N818 (it is an instruction, not an error of the plugin)
    """Raised by a plugin when the job itself is bad, so that no node need try it again.

    The text is one line for whoever submitted it: what was wrong, and what would be right.
    """


def _type_check(*kinds: type) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, kinds):
            wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
            raise TypeError(f"WorkerResult.{attribute.name} is {wanted}, not {type(value).__name__}")

    return check


@attrs.frozen
class WorkerResult:
    """What a plugin gives back.

    Files belong into ``current_job().output_dir``; they are uploaded and listed beside this.

    Raises:
        TypeError: a field has the wrong type.
    """

    success: bool = attrs.field(validator=_type_check(bool))
    #: Where a result lies that the plugin stored elsewhere itself, for example an s3:// address.
    result_ref: str | None = attrs.field(default=None, validator=_type_check(str, type(None)))
    #: Why it failed, one line for the submitter.
    error: str | None = attrs.field(default=None, validator=_type_check(str, type(None)))
    #: Anything JSON can hold, at most ``channel.MAX_VALUE_BYTES`` as JSON.
    value: Any = None
    #: False says that the job itself is bad: it ends at once instead of being tried on another node.
    retryable: bool = attrs.field(default=True, validator=_type_check(bool))


class BaseWorkerPlugin(abc.ABC):
    """Base of every plugin.  One instance is made per job, without arguments."""

    #: The jobs this plugin takes; written as a plain string, because plugin files are read without running them.
    job_type: ClassVar[str]
    #: The payload of a job of some seconds by which ``edgeagent bench`` compares machines; None: it has none.
    benchmark: ClassVar[Mapping[str, Any] | None] = None

    @abc.abstractmethod
    async def execute(self, job_id: uuid.UUID, payload: dict[str, Any]) -> WorkerResult:
        """Do the work.  Runs under trio; blocking is fine, nothing else runs in this process.

        Raises:
            RejectJob: the payload can never work.  Any other exception fails the attempt with its text.
        """

    @classmethod
    def unavailable(cls) -> str | None:
        """Return why this host cannot run the plugin, one line, or None if it can.

        Asked once when the node starts; a plugin with a reason is not offered to the gateway.
        """
        return None


@attrs.frozen
class JobContext:
    """The job that is running: what ``current_job()`` returns."""

    job_id: uuid.UUID
    #: An existing, empty directory.  Plain files directly in it are uploaded after the job has ended.
    output_dir: Path
    _report: Callable[[float | None, str], None] = attrs.field(repr=False, eq=False)
    #: The job's input files by the names that its submitter gave them; they can be read, and not changed.
    inputs: Mapping[str, Path] = attrs.Factory(dict)

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Tell the submitter how far the job is.  Cheap, never blocks, callable from any thread.

        Args:
            fraction: 0 to 1, clamped; None where it cannot be told.
            text: one short line, such as ``"tile 3 of 24"``.

        Updates that come faster than they can be shown replace one another; the last one always arrives.
        """
        self._report(fraction, text)


_current: contextvars.ContextVar[JobContext] = contextvars.ContextVar("edgeagent_job")


def current_job() -> JobContext:
    """Return the job that is being executed.

    Raises:
        RuntimeError: there is none: the caller is not inside ``execute``, nor in a trio task or thread started by it.
    """
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("current_job() works only inside a plugin's execute()") from None


def enter_job(context: JobContext) -> contextvars.Token[JobContext]:
    """Make ``context`` what ``current_job()`` returns from here on.  For whatever runs plugins, not for plugins."""
    return _current.set(context)
