"""Those who send jobs: at any time of the day, impatient now and then, and asking again when nobody answers."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from edgeagent import chance
from edgeagent.gateway.store import StoreUnavailableError, accounts
from edgeagent.gateway.store.submissions import Key, New
from edgeagent.simulation.house import GatewayHouse
from edgeagent.wire.messages import Outcome
from edgeagent.wire.units import UCR_PER_CREDIT

#: Accounts, each with more credits than it can spend.
NAMES = ("studio", "lab", "agency")
GRANT_UCR = 10_000_000 * UCR_PER_CREDIT
#: Job types and how many of a hundred jobs are of each.
TYPES = {"render": 40, "inference": 20, "cpu_benchmark": 20, "echo": 20}
#: How jobs end when nothing else goes wrong: a few always fail, a few are refused by their plugin.
FATES = {Outcome.COMPLETED: 96, Outcome.FAILED: 2, Outcome.REJECTED: 2}
#: Shortest and longest job in seconds, and how many files it leaves at most.
SECONDS = (10.0, 3600.0)
FILES = 2
#: One of so many jobs is cancelled, within so many seconds.
CANCELLED_ONE_IN, CANCELLED_WITHIN_S = 20, 600.0
#: Seconds after which somebody asks again.
AGAIN_S = 5.0


@attrs.define(eq=False)
class Submitters:
    """All of them; ``accepted`` are the jobs that they were told are accepted."""

    house: GatewayHouse
    per_hour: float
    accepted: list[str] = attrs.Factory(list)
    _accounts: list[str] = attrs.Factory(list)

    async def enlist(self) -> None:
        """Open the accounts."""
        store = (await self.house.hub()).store
        for name in NAMES:
            await store.write(accounts.add_token, name, f"{name}'s token", GRANT_UCR)
            account_id = await store.read(accounts.of_token, f"{name}'s token")
            assert account_id is not None
            self._accounts.append(account_id)

    async def run(self, seconds: float) -> None:
        """Submit for so long, and see everything accepted."""
        rng = chance.rng()
        async with trio.open_nursery() as nursery:
            until = trio.current_time() + seconds
            while self.per_hour and trio.current_time() < until:
                nursery.start_soon(self._submit, rng.choice(self._accounts))
                await trio.sleep(rng.expovariate(self.per_hour / 3600.0))

    async def _submit(self, account_id: str) -> None:
        rng = chance.rng()
        new = New(
            job_id=chance.new_id(),
            account_id=account_id,
            job_type=rng.choices(list(TYPES), list(TYPES.values()))[0],
            payload=_payload(),
            priority=rng.randint(1, 9),
        )
        key = Key(new.job_id, new.job_id)
        cancelled = rng.randrange(CANCELLED_ONE_IN) == 0
        after_s = rng.uniform(0, CANCELLED_WITHIN_S)
        while True:
            hub = await self.house.hub()
            try:
                (job, *_), _ = await hub.submit(account_id, [new], key)
                break
            except StoreUnavailableError:
                await trio.sleep(AGAIN_S)
        self.accepted.append(job.job_id)
        if cancelled:
            await trio.sleep(after_s)
            await self._cancel(job.job_id, account_id)

    async def _cancel(self, job_id: str, account_id: str) -> None:
        while True:
            hub = await self.house.hub()
            try:
                await hub.cancel(job_id, account_id)
            except StoreUnavailableError:
                await trio.sleep(AGAIN_S)
            else:
                return


def _payload() -> dict[str, Any]:
    rng = chance.rng()
    shortest, longest = SECONDS
    return {
        "seconds": round(shortest * (longest / shortest) ** rng.random(), 3),  # as many short ones as long ones
        "fate": rng.choices(list(FATES), list(FATES.values()))[0].value,
        "files": rng.randint(0, FILES),
    }
