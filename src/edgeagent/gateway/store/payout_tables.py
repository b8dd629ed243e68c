"""What is stored of payouts, see ``store.payouts``; part of ``store.tables``, kept apart for its length."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Double, ForeignKey, Index, Integer, Table

from edgeagent.gateway.store.tables import metadata
from edgeagent.gateway.store.types import String, Text

#: What is or was owed to each node for each month, as far as it was looked at.
payouts = Table(
    "payouts",
    metadata,
    Column("month", String(7), primary_key=True),  # of UTC, like 2026-10
    Column("node_id", ForeignKey("nodes.node_id"), primary_key=True),
    Column("state", String(16), nullable=False),  # see gateway.payouts.State
    Column("amount_ucr", sa.BigInteger, nullable=False),
    Column("batch", Integer, nullable=False),  # which hand-over to the rail it belongs to; 0: nothing is paid
    Column("address", String(200), nullable=False),  # as it was when the credits left the node's account
    Column("rail", String(40), nullable=False),  # who was told to pay; empty: nobody yet
    Column("reference", Text, nullable=False),  # the rail's, or the owner's, for the payment
    Column("why", Text, nullable=False),  # of what is not paid
    Column("made_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    CheckConstraint("amount_ucr > 0", name="positive"),
)
#: Which payments no rail has answered for: few, and looked for every hour.  The query spells this out, too.
IS_DUE = "state = 'due'"
Index("ix_payouts_due", payouts.c.month, sqlite_where=sa.text(IS_DUE), postgresql_where=sa.text(IS_DUE))

#: Months that were gone through to the last node.
payout_months = Table(
    "payout_months",
    metadata,
    Column("month", String(7), primary_key=True),
    Column("minimum_ucr", sa.BigInteger, nullable=False),
    Column("done_at", Double, nullable=False),
)

#: Where each node's operator wants to be paid, in words for the rail.
payout_addresses = Table(
    "payout_addresses",
    metadata,
    Column("node_id", ForeignKey("nodes.node_id"), primary_key=True),
    Column("address", String(200), nullable=False),
    Column("since", Double, nullable=False),
)
