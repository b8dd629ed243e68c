"""What the owner's commands see of a running node and can have it do: the orders behind the control socket."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import trio

from edgeagent import __version__
from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.node.config import Identity
from edgeagent.node.control import Json, Order
from edgeagent.node.lending import Lending
from edgeagent.node.rings import Parts
from edgeagent.node.slots import NO_GPUS
from edgeagent.node.snapshot import GpuState, LinkState, SandboxState, Snapshot, SpoolState, TypeState, document
from edgeagent.node.transport import ABNORMAL, LinkLost

#: Longest pause and drain that can be asked for: a year.
MOST_S = 366 * 86400.0
DRAINED = "the node is being drained by its owner"


@attrs.frozen(kw_only=True)
class Owner:
    """One running node in its owner's hands.

    Attributes:
        cache: what the input cache says of itself; None where there is none.
        warnings: lines for the owner about this host, as they are at the moment.
        lending: the GPUs.
    """

    parts: Parts
    identity: Identity
    grace_s: float
    not_enforced: dict[str, str] = attrs.Factory(dict)
    cache: Callable[[], dict[str, Any]] | None = None
    warnings: Callable[[], tuple[str, ...]] = tuple
    lending: Lending = attrs.Factory(lambda: Lending(NO_GPUS))
    started: float = attrs.field(factory=trio.current_time)

    def orders(self) -> dict[str, Order]:
        """Return what can be asked for, by name."""
        return {
            "state": self._state,
            "pause": self._pause,
            "resume": self._resume,
            "drain": self._drain,
            "gpu_pause": self._gpu_pause,
            "gpu_resume": self._gpu_resume,
        }

    async def snapshot(self) -> Snapshot:
        """Return how everything is now."""
        parts, now = self.parts, trio.current_time()
        agent, attempts, session, gate = parts.agent, parts.attempts, parts.session, parts.gate
        said, heard = session.acknowledged, session.acknowledged_at
        return Snapshot(
            version=__version__,
            node_id=self.identity.node_id,
            name=self.identity.name,
            gateway=str(self.identity.gateway),
            uptime_s=now - self.started,
            link=LinkState(
                up=session.connected,
                since_s=now - session.turned_at,
                last_ack_s=None if heard is None else now - heard,
                lost=session.lost,
                state=said.state.value if said else None,
                probation=said is not None and said.probation,
                no_work=said.no_work if said else "",
            ),
            slots=agent.slots,
            free_slots=attempts.free_slots,
            load=attempts.load,
            gpus=agent.gpus,
            sandbox=SandboxState(tier=agent.sandbox_tier, not_enforced=self.not_enforced),
            job_types=tuple(TypeState(job_type=one, against=gate.against(one)) for one in agent.announced),
            against=gate.general(),
            draining=parts.stop.reason if parts.stop.asked else None,
            drain_left_s=parts.stop.left_s,
            running=attempts.shown(),
            completed=attempts.completed,
            failed=attempts.failed,
            credited_ucr=parts.sender.credited_ucr,
            failures=attempts.failures(),
            spool=SpoolState(undelivered=len(tuple(parts.sender)), size_bytes=await parts.spool.size_bytes()),
            cache=None if self.cache is None else self.cache(),
            warnings=self.warnings(),
            gpu_states=self._gpus(),
        )

    def _gpus(self) -> tuple[GpuState, ...]:
        held, rules = Counter(self.parts.attempts.held_gpus), self.lending.rules
        return tuple(
            GpuState(
                uuid=uuid,
                paused=uuid in self.lending.paused,
                jobs=held[uuid],
                only_for=tuple(rules.only_for[uuid]) if uuid in rules.only_for else None,
            )
            for uuid in self.lending.uuids
        )

    async def state(self) -> Json:
        """Return the same as a document."""
        return document(await self.snapshot())

    async def _state(self, request: Json) -> Json:
        return {"state": await self.state()}

    async def _pause(self, request: Json) -> Json:
        for_s = _seconds(request, "for_s")
        try:
            pause = self.parts.gate.pause(for_s)
        except OSError as error:
            raise EdgeAgentError(f"the pause cannot be kept: {error.strerror}") from None
        return {"until": pause.until, "running": len(self.parts.attempts.running)}

    async def _resume(self, request: Json) -> Json:
        try:
            paused = self.parts.gate.resume()
        except OSError as error:
            raise EdgeAgentError(f"the pause cannot be ended: {error.strerror}") from None
        return {"was_paused": paused}

    async def _gpu_pause(self, request: Json) -> Json:
        try:
            turned = self.lending.pause(_name(request))
        except OSError as error:
            raise EdgeAgentError(f"the pause cannot be kept: {error.strerror}") from None
        return self._lend(turned)

    async def _gpu_resume(self, request: Json) -> Json:
        try:
            turned = self.lending.resume(_name(request))
        except OSError as error:
            raise EdgeAgentError(f"the pause cannot be ended: {error.strerror}") from None
        return self._lend(turned)

    def _lend(self, turned: tuple[str, ...]) -> Json:
        """Go by what is lent now; which GPUs there are is what a link begins with, so it begins anew."""
        if turned:
            self.parts.attempts.gpus = self.lending.rules
            self.parts.gate.lack(self.lending.short())
            self.parts.link.wake(LinkLost(ABNORMAL, "other GPUs are lent than before"))
        return {"turned": turned, "gpus": [attrs.asdict(one) for one in self._gpus()]}

    async def _drain(self, request: Json) -> Json:
        deadline_s = _seconds(request, "deadline_s")
        self.parts.stop.request(self.grace_s if deadline_s is None else deadline_s, DRAINED)
        return {"left_s": self.parts.stop.left_s, "running": len(self.parts.attempts.running)}


def _name(request: Json) -> str | None:
    value = request.get("gpu")
    if value is not None and not isinstance(value, str):
        raise UsageError("gpu must be a GPU's UUID, or its place in the list")
    return value


def _seconds(request: Json, key: str) -> float | None:
    value = request.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_S or math.isnan(value):
        raise UsageError(f"{key} must be seconds from 0 to {MOST_S:.0f}")
    return float(value)
