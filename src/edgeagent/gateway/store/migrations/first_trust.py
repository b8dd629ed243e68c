"""The part of the first schema that is about trust in results."""

import sqlalchemy as sa
from alembic import op


def _serial() -> sa.Column[int]:
    return sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "trust_policies",
        _serial(),
        sa.Column("job_type", sa.String(length=100), nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_trust_policies")),
    )
    op.create_table(
        "reputations",
        sa.Column("node_id", sa.String(length=36), nullable=False),
        sa.Column("job_type", sa.String(length=100), nullable=False),
        sa.Column("agreed", sa.BigInteger(), nullable=False),
        sa.Column("disputed", sa.BigInteger(), nullable=False),
        sa.Column("streak", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_reputations_node_id")),
        sa.PrimaryKeyConstraint("node_id", "job_type", name=op.f("pk_reputations")),
    )
    op.create_table(
        "held_results",
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("operator", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("result_ref", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_held_results_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_held_results")),
    )
    op.create_table(
        "known_answers",
        _serial(),
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_known_answers_job_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_known_answers")),
        sa.UniqueConstraint("job_id", name=op.f("uq_known_answers_job_id")),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("known_answers", "held_results", "reputations", "trust_policies"):
        op.drop_table(table)
