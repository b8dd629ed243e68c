"""Holds what speaks against taking jobs, as it changes, and asks ``node.willingness`` what follows from it.

The one rule: whoever changes something here wakes ``changed``, and with it the heartbeat that tells the gateway.  A
pause is written into the node's home, so that it survives a restart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import attrs
import structlog
import trio

from edgeagent.node import files
from edgeagent.node.willingness import Circumstances, Code, Pause, Reason, against, closed, general

log = structlog.get_logger()

_FILE = "pause.json"


class Gate:
    """What is open to jobs now."""

    def __init__(
        self, around: Circumstances | None = None, *, now: Callable[[], float] = time.time, home: Path | None = None
    ) -> None:
        """Start with these circumstances; ``home`` is where a pause is kept, ``now`` the seconds since the epoch."""
        self.around = around or Circumstances()
        self.now = now
        self.changed = trio.Event()
        self._home = home
        if home is not None and (pause := _read(home)) is not None and pause.holds(now()):
            self.around = attrs.evolve(self.around, pause=pause)

    def against(self, job_type: str) -> tuple[Reason, ...]:
        """Return all that speaks against a job of this type now."""
        return against(job_type, self.around, self.now())

    def general(self) -> tuple[Reason, ...]:
        """Return what speaks against every job now."""
        return general(self.around, self.now())

    def closed(self, job_types: Collection[str]) -> tuple[str, ...]:
        """Return which of these are not taken now."""
        return closed(job_types, self.around, self.now())

    def window_is_open(self, job_type: str) -> bool:
        """Say whether the schedule alone lets jobs of this type run now."""
        return self.around.plan.is_open(job_type, self.around.wall, self.now())

    def stop(self, why: str) -> None:
        """Take nothing any more."""
        self._become(attrs.evolve(self.around, stopping=why))

    def pause(self, for_s: float | None = None) -> Pause:
        """Take nothing until ``resume``, or for so many seconds.

        Raises:
            OSError: it cannot be written down, and is not in force.
        """
        now = self.now()
        pause = Pause(since=now, until=None if for_s is None else now + for_s)
        if self._home is not None:
            files.write(self._home / _FILE, json.dumps(attrs.asdict(pause)).encode(), 0o600)
        self._become(attrs.evolve(self.around, pause=pause))
        return pause

    def resume(self) -> bool:
        """Take jobs again; say whether the node was paused.

        Raises:
            OSError: the pause cannot be removed from disk, and stays in force.
        """
        paused = self.around.pause is not None and self.around.pause.holds(self.now())
        if self._home is not None:
            (self._home / _FILE).unlink(missing_ok=True)
        self._become(attrs.evolve(self.around, pause=None))
        return paused

    def lack(self, short: Mapping[str, Reason]) -> None:
        """Take no jobs of these types until told otherwise, for these reasons."""
        self._become(attrs.evolve(self.around, short=short))

    def note(self, code: Code, reason: Reason | None) -> None:
        """Note what the node has noticed about its host, or that it is over; other words alone wake nobody."""
        turned = (code in self.around.conditions) != (reason is not None)
        others = {one: said for one, said in self.around.conditions.items() if one is not code}
        self.around = attrs.evolve(self.around, conditions=others if reason is None else {**others, code: reason})
        if turned and reason is not None:
            log.warning("No jobs are taken", code=code.value, reason=reason.text)
        elif turned:
            log.info("Jobs are taken again", code=code.value)
        if turned:
            self.tell()

    def tell(self) -> None:
        """Something has changed: let those who wait look again."""
        self.changed.set()
        self.changed = trio.Event()

    def _become(self, around: Circumstances) -> None:
        self.around = around
        self.tell()


def _read(home: Path) -> Pause | None:
    try:
        said = json.loads((home / _FILE).read_bytes())
        until = said["until"]
        return Pause(since=float(said["since"]), until=None if until is None else float(until))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("Pause not read; the node stays paused", file=str(home / _FILE), reason=str(error))
        return Pause(since=0.0)
