"""The part of the first schema that is about settlements and the keys that sign for them."""

import sqlalchemy as sa
from alembic import op


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "node_keys",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("node_id", sa.String(length=36), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_node_keys_node_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_node_keys")),
    )
    op.create_index(op.f("ix_node_keys_node_id"), "node_keys", ["node_id"], unique=False)
    op.create_table(
        "months",
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("leaves", sa.BigInteger(), nullable=False),
        sa.Column("credited_ucr", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_months")),
    )
    op.create_table(
        "settlements",
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("credited_ucr", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_settlements_attempt_id")),
        sa.ForeignKeyConstraint(["month"], ["months.month"], name=op.f("fk_settlements_month")),
        sa.PrimaryKeyConstraint("month", "place", name=op.f("pk_settlements")),
        sa.UniqueConstraint("attempt_id", name=op.f("uq_settlements_attempt_id")),
    )
    op.create_index(op.f("ix_settlements_leaf"), "settlements", ["leaf"], unique=False)
    op.create_table(
        "month_hashes",
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["month"], ["months.month"], name=op.f("fk_month_hashes_month")),
        sa.PrimaryKeyConstraint("month", "level", "place", name=op.f("pk_month_hashes")),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("month_hashes")
    op.drop_index(op.f("ix_settlements_leaf"), table_name="settlements")
    op.drop_table("settlements")
    op.drop_table("months")
    op.drop_index(op.f("ix_node_keys_node_id"), table_name="node_keys")
    op.drop_table("node_keys")
