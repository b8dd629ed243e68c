"""What a submitter is shown of a job, against what is stored of it."""

from __future__ import annotations

from edgeagent.gateway.store import Store, accounts, files, intake, nodes, prices, views
from edgeagent.gateway.store.engine import Database
from edgeagent.gateway.store.nodes import Applicant
from edgeagent.gateway.store.submissions import New
from edgeagent.wire.messages import Limits, Reference

SOME = "0" * 64


async def test_a_submission_is_answered_with_what_is_stored(database: Database) -> None:
    """The answer is made without a look at the database; a look says the same, field by field."""
    store = Store(database, clock=lambda: 1_000_000.5, inline=True)
    await store.write(accounts.add_token, "alice", SOME, 10**9)
    await store.write(nodes.register, Applicant("one", "key", ("render", "echo"), {}))
    account_id = (await store.read(accounts.ids))["alice"]
    await store.write(files.add, account_id, SOME, "scene", 1)
    plain = New(job_id="1", account_id=account_id, job_type="echo")
    full = New(
        job_id="2",
        account_id=account_id,
        job_type="render",
        payload_ref=f"sha256:{SOME}",
        inputs={"scene": Reference(ref=f"sha256:{SOME}", sha256=SOME, size_bytes=1)},
        limits=Limits(gpus=2, memory_bytes=4 << 30),
        priority=9,
        max_attempts=1,
        deadline_s=60.0,
        tier="A",
    )

    await store.write(prices.change, "echo", 7, "owner")

    answered = (await store.write(intake.take, account_id, [plain, full], 0.0, None, None)).found

    assert answered == await store.read(views.show_all, account_id, ["1", "2"])
    assert [7, 10_000_000] == [view.price_ucr for view in answered]
    store.close()
