"""The part of the first schema that is about payouts."""

import sqlalchemy as sa
from alembic import op

_IS_DUE = "state = 'due'"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "payouts",
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("node_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("amount_ucr", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=200), nullable=False),
        sa.Column("rail", sa.String(length=40), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.CheckConstraint("amount_ucr > 0", name=op.f("ck_payouts_positive")),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_payouts_node_id")),
        sa.PrimaryKeyConstraint("month", "node_id", name=op.f("pk_payouts")),
    )
    where = sa.text(_IS_DUE)
    op.create_index("ix_payouts_due", "payouts", ["month"], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "payout_months",
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("minimum_ucr", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_payout_months")),
    )
    op.create_table(
        "payout_addresses",
        sa.Column("node_id", sa.String(length=36), nullable=False),
        sa.Column("address", sa.String(length=200), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_payout_addresses_node_id")),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_payout_addresses")),
    )


def downgrade() -> None:
    """Drop them."""
    where = sa.text(_IS_DUE)
    op.drop_index("ix_payouts_due", table_name="payouts", sqlite_where=where, postgresql_where=where)
    for table in ("payout_addresses", "payout_months", "payouts"):
        op.drop_table(table)
