"""Whether the owner's own use of the machine speaks against jobs: battery, somebody at the keyboard, other programs.

Pure.  A reading turns a pause on or off only once it has held for a while, so that a plug that wiggles or a compiler
that runs for a second changes nothing.  ``node.hostwatch`` takes the readings and notes what follows at the gate.
"""

from __future__ import annotations

import attrs

from edgeagent.node.willingness import Code, Reason

#: Seconds that the plug must be in before the machine counts as plugged in again.
PLUGGED_S = 30.0
#: Seconds that others must use the processors, or not, before that counts.
BUSY_S, QUIET_S = 30.0, 60.0
#: Part of the limit below which others must stay for jobs to come back.
QUIET_PART = 0.75


@attrs.frozen(kw_only=True)
class Wishes:
    """When the owner wants no jobs.

    Attributes:
        battery: while the machine runs on battery.
        activity_s: until nobody has used it for so many seconds; None: whoever uses it.
        load: while other programs use more than this part of the processors, 0 to 1; None: whatever they use.
    """

    battery: bool = False
    activity_s: float | None = None
    load: float | None = None

    @property
    def any(self) -> bool:
        """Whether there is anything to look at."""
        return self.battery or self.activity_s is not None or self.load is not None


@attrs.frozen(kw_only=True)
class Readings:
    """What the host says at a moment; None where it does not tell, which speaks against nothing.

    Attributes:
        on_battery: it has one, and no other power.
        active: somebody uses a session.
        others: part of the processors that other programs have used since the reading before, 0 to 1.
    """

    on_battery: bool | None = None
    active: bool | None = None
    others: float | None = None


def unheeded(wishes: Wishes, seen: Readings) -> tuple[str, ...]:
    """Return which of the owner's wishes come to nothing, since the host does not tell, one line each."""
    lines = (
        (
            wishes.battery and seen.on_battery is None,
            "pause.battery has no effect: this machine has no battery, or does not tell of it; "
            "edgeagent config unset pause.battery",
        ),
        (
            wishes.activity_s is not None and seen.active is None,
            "pause.activity has no effect: systemd-logind does not say whether somebody uses this machine; "
            "edgeagent config unset pause.activity",
        ),
    )
    return tuple(line for vain, line in lines if vain)


@attrs.frozen
class Latch:
    """Something that is so or not, and since when (seconds on the caller's clock) readings say the opposite."""

    on: bool = False
    turning_since: float | None = None

    def read(self, seen: bool, now: float, *, on_after_s: float, off_after_s: float) -> Latch:
        """Return how it is after a reading."""
        if seen == self.on:
            return Latch(self.on)
        since = now if self.turning_since is None else self.turning_since
        if now - since >= (off_after_s if self.on else on_after_s):
            return Latch(seen)
        return Latch(self.on, since)


@attrs.frozen(kw_only=True)
class Pauses:
    """Which of the three are in force."""

    battery: Latch = Latch()
    user: Latch = Latch()
    load: Latch = Latch()
    others: float = 0.0  # as read last

    def read(self, wishes: Wishes, seen: Readings, now: float) -> Pauses:
        """Return how they are after readings at ``now``, in seconds on a clock that never goes back."""
        battery, user, load = Latch(), Latch(), Latch()
        if wishes.battery:
            battery = self.battery.read(bool(seen.on_battery), now, on_after_s=0.0, off_after_s=PLUGGED_S)
        if wishes.activity_s is not None:
            user = self.user.read(bool(seen.active), now, on_after_s=0.0, off_after_s=wishes.activity_s)
        if wishes.load is not None:
            limit = wishes.load * (QUIET_PART if self.load.on else 1.0)
            busy = seen.others is not None and seen.others > limit
            load = self.load.read(busy, now, on_after_s=BUSY_S, off_after_s=QUIET_S)
        return Pauses(battery=battery, user=user, load=load, others=seen.others or 0.0)

    def reasons(self) -> dict[Code, Reason | None]:
        """Return what stands against jobs, by code; None for what does not."""
        others = f"other programs use the processors ({self.others:.0%} at the last look)"
        return {
            code: Reason(code=code, text=text) if latch.on else None
            for code, latch, text in (
                (Code.BATTERY, self.battery, "the machine runs on battery"),
                (Code.USER, self.user, "somebody uses the machine, or did a moment ago"),
                (Code.LOAD, self.load, others),
            )
        }


@attrs.frozen(kw_only=True)
class Times:
    """Processor time since the machine started, in seconds over all processors; ``own`` is the node's and its jobs'."""

    total: float
    busy: float
    own: float

    def others(self, before: Times) -> float | None:
        """Return which part of the processors others have used since ``before``, 0 to 1; None: no time has passed."""
        total = self.total - before.total
        if total <= 0:
            return None
        # What a job used is added to the node's when it is reaped, which may be after the look at its end.
        own = max(0.0, self.own - before.own)
        return min(1.0, max(0.0, self.busy - before.busy - own) / total)
