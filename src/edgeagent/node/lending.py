"""The GPUs of a running node as its owner lends them now: what the options say, less what he has paused.

A pause is kept in the node's home, so that it survives a restart, and holds for a GPU, not for its place in a list: one
that was taken out and comes back is still paused.  ``node.owner`` has ``edgeagent gpu`` come here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import attrs
import structlog

from edgeagent.errors import UsageError
from edgeagent.node import files
from edgeagent.node.capabilities import lacking_gpus
from edgeagent.node.slots import GpuRules
from edgeagent.node.willingness import Code, Reason

log = structlog.get_logger()

_FILE = "paused-gpus.json"


class Lending:
    """Which GPUs jobs may have now."""

    def __init__(self, all_of_them: GpuRules, home: Path | None = None) -> None:
        """Lend what these rules say, but for what is paused in ``home``."""
        self._all = all_of_them
        self._home = home
        self._paused = frozenset() if home is None else _read(home / _FILE, all_of_them.uuids)

    @property
    def rules(self) -> GpuRules:
        """The rules without what is paused; a GPU that is not in them is neither advertised nor given to a job."""
        return attrs.evolve(self._all, uuids=tuple(uuid for uuid in self._all.uuids if uuid not in self._paused))

    @property
    def uuids(self) -> tuple[str, ...]:
        """All that the owner lends, paused or not, in the order in which ``edgeagent gpu list`` counts them."""
        return self._all.uuids

    @property
    def paused(self) -> tuple[str, ...]:
        """Those of them that are paused."""
        return tuple(uuid for uuid in self._all.uuids if uuid in self._paused)

    def short(self) -> dict[str, Reason]:
        """Return why job types that could run with all GPUs cannot now, by job type."""
        never = lacking_gpus(self._all)
        return {
            job_type: Reason(code=Code.GPU, text=f"{text}; paused: {', '.join(self.paused)}")
            for job_type, text in lacking_gpus(self.rules).items()
            if job_type not in never
        }

    def pause(self, name: str | None) -> tuple[str, ...]:
        """Lend a GPU no more until ``resume``, or all of them; return those that were lent until now.

        Args:
            name: a UUID, or a place in ``uuids`` from 0; None: all.

        Raises:
            UsageError: there is no such GPU.
            OSError: it cannot be written down, and is not in force.
        """
        meant = self._meant(name)
        turned = tuple(uuid for uuid in meant if uuid not in self._paused)
        self._keep(self._paused.union(meant))
        return turned

    def resume(self, name: str | None) -> tuple[str, ...]:
        """Lend it again; as ``pause``, and returns those that were paused until now."""
        meant = self._meant(name)
        turned = tuple(uuid for uuid in meant if uuid in self._paused)
        self._keep(self._paused.difference(meant))
        return turned

    def _meant(self, name: str | None) -> tuple[str, ...]:
        if not self.uuids:
            raise UsageError("this node lends no GPU; see: edgeagent doctor")
        if name is None:
            return self.uuids
        if name in self.uuids:
            return (name,)
        if name.isascii() and name.isdecimal() and int(name) < len(self.uuids):
            return (self.uuids[int(name)],)
        raise UsageError(f"{name} is no GPU that this node lends; see: edgeagent gpu list")

    def _keep(self, paused: Iterable[str]) -> None:
        kept = frozenset(paused)
        if self._home is not None and kept != self._paused:
            files.write(self._home / _FILE, json.dumps(sorted(kept)).encode(), 0o600)
        self._paused = kept


def _read(file: Path, lent: tuple[str, ...]) -> frozenset[str]:
    try:
        said = json.loads(file.read_bytes())
        if isinstance(said, list):
            return frozenset(map(str, said))
        reason = "it is no list"
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError) as error:
        reason = str(error)
    log.warning("Paused GPUs not read; all of them stay paused", file=str(file), reason=reason)
    return frozenset(lent)
