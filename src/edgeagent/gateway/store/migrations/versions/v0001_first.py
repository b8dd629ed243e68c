"""The first schema: accounts, nodes, jobs, attempts, outputs and the ledger."""

import sqlalchemy as sa
from alembic import op

from edgeagent.gateway.store.migrations import first_payouts, first_settlements, first_trust

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: Indexes of what is looked for among few of the jobs: those that wait, those that rest, those with a deadline.
_PARTIAL: tuple[tuple[str, list[str | sa.TextClause], str], ...] = (
    (
        "ix_jobs_waiting",
        ["account_id", "need", sa.text("priority DESC"), "seq"],
        "state || '' = 'QUEUED' AND rests_until IS NULL",
    ),
    ("ix_jobs_resting", ["rests_until"], "state || '' = 'QUEUED' AND rests_until IS NOT NULL"),
    ("ix_jobs_deadline", ["deadline_at"], "finished_at IS NULL AND deadline_at IS NOT NULL"),
)
#: Postings to nodes' accounts, for what a node has earned.
_OF_NODES = "substr(account, 1, 5) = 'node:'"


#: What keeps the audit log append-only, on each database.
_APPEND_ONLY = {
    "sqlite": tuple(
        f"CREATE TRIGGER audit_entries_no_{event} BEFORE {event} ON audit_entries "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        for event in ("update", "delete")
    ),
    "postgresql": (
        "CREATE FUNCTION audit_entries_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$",
        "CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_append_only()",
    ),
}


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )
    op.create_table(
        "job_types",
        sa.Column("job_type", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("job_type", name=op.f("pk_job_types")),
    )
    op.create_table(
        "ledger_accounts",
        sa.Column("account", sa.String(length=60), nullable=False),
        sa.Column("balance_ucr", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("balance_ucr >= 0 OR account = 'issuer'", name=op.f("ck_ledger_accounts_not_negative")),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_ledger_accounts")),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=150), nullable=False),
        sa.Column("memo", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ledger_entries")),
    )
    op.create_index(
        "uq_ledger_entries_kind_reference",
        "ledger_entries",
        ["kind", "reference"],
        unique=True,
        sqlite_where=sa.text("reference <> ''"),
        postgresql_where=sa.text("reference <> ''"),
    )
    op.create_table(
        "prices",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_type", sa.String(length=100), nullable=False),
        sa.Column("price_ucr", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.CheckConstraint("price_ucr >= 0", name=op.f("ck_prices_not_negative")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_prices")),
    )
    op.create_table(
        "join_tokens",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("operator", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_join_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_join_tokens_token_sha256")),
    )
    op.create_table(
        "used_challenges",
        sa.Column("challenge", sa.String(length=64), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("challenge", name=op.f("pk_used_challenges")),
    )
    op.create_index(op.f("ix_used_challenges_until"), "used_challenges", ["until"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("node_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("token_epoch", sa.Integer(), nullable=False),
        sa.Column("drained", sa.Boolean(), nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("operator", sa.String(length=40), nullable=False),
        sa.Column("capabilities", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("failures", sa.Text(), nullable=False),
        sa.Column("jobs_completed", sa.BigInteger(), nullable=False),
        sa.Column("earned_ucr", sa.BigInteger(), nullable=False),
        sa.Column("healthy_s", sa.Double(), nullable=False),
        sa.Column("known_s", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_nodes")),
        sa.UniqueConstraint("node_id", name=op.f("uq_nodes_node_id")),
        sa.UniqueConstraint("name_key", name=op.f("uq_nodes_name_key")),
        sa.UniqueConstraint("public_key", name=op.f("uq_nodes_public_key")),
    )
    op.create_table(
        "account_tokens",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("scopes", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_account_tokens_account_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_account_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_account_tokens_token_sha256")),
    )
    op.create_table(
        "audit_entries",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=150), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=150), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_entries")),
    )
    for statement in _APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)
    op.create_table(
        "jobs",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("job_type", sa.String(length=100), nullable=False),
        sa.Column("need", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("payload_ref", sa.Text(), nullable=True),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("rests_until", sa.Double(), nullable=True),
        sa.Column("deadline_s", sa.Double(), nullable=True),
        sa.Column("deadline_at", sa.Double(), nullable=True),
        sa.Column("current_attempt", sa.String(length=36), nullable=True),
        sa.Column("price_ucr", sa.BigInteger(), nullable=False),
        sa.Column("credited_ucr", sa.BigInteger(), nullable=False),
        sa.Column("quorum", sa.Integer(), nullable=False),
        sa.Column("known_answer", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("result_ref", sa.Text(), nullable=True),
        sa.Column("progress_fraction", sa.Double(), nullable=True),
        sa.Column("progress_text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("requeue_of", sa.String(length=36), nullable=True),
        sa.Column("requeued_as", sa.String(length=36), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_jobs_account_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_jobs")),
        sa.UniqueConstraint("job_id", name=op.f("uq_jobs_job_id")),
    )
    op.create_index(op.f("ix_jobs_account_id_seq"), "jobs", ["account_id", "seq"], unique=False)
    op.create_index(op.f("ix_jobs_state_seq"), "jobs", ["state", "seq"], unique=False)
    for name, columns, condition in _PARTIAL:
        where = sa.text(condition)
        op.create_index(name, "jobs", columns, unique=False, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("job_ids", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_idempotency_keys_account_id")),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "ledger_postings",
        sa.Column("entry_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.String(length=60), nullable=False),
        sa.Column("amount_ucr", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["entry_seq"], ["ledger_entries.seq"], name=op.f("fk_ledger_postings_entry_seq")),
        sa.PrimaryKeyConstraint("entry_seq", "account", name=op.f("pk_ledger_postings")),
    )
    op.create_index(
        "ix_ledger_postings_nodes",
        "ledger_postings",
        ["account", "entry_seq"],
        unique=False,
        sqlite_where=sa.text(_OF_NODES),
        postgresql_where=sa.text(_OF_NODES),
    )
    op.create_table(
        "node_states",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("node_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_node_states_node_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_node_states")),
    )
    op.create_index(op.f("ix_node_states_node_id_until"), "node_states", ["node_id", "until"], unique=False)
    op.create_index(op.f("ix_node_states_until"), "node_states", ["until"], unique=False)
    op.create_table(
        "node_days",
        sa.Column("node_id", sa.String(length=36), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("jobs_completed", sa.BigInteger(), nullable=False),
        sa.Column("earned_ucr", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_node_days_node_id")),
        sa.PrimaryKeyConstraint("node_id", "day", name=op.f("pk_node_days")),
    )
    op.create_index(op.f("ix_node_days_day"), "node_days", ["day"], unique=False)
    op.create_table(
        "node_orders",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("node_id", sa.String(length=36), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_node_orders_node_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_node_orders")),
    )
    op.create_table(
        "attempts",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("node_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("sandbox", sa.Text(), nullable=False),
        sa.Column("receipt_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_attempts_job_id")),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name=op.f("fk_attempts_node_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_attempts")),
        sa.UniqueConstraint("attempt_id", name=op.f("uq_attempts_attempt_id")),
    )
    op.create_index(op.f("ix_attempts_job_id"), "attempts", ["job_id"], unique=False)
    op.create_index(op.f("ix_attempts_state"), "attempts", ["state"], unique=False)
    op.create_table(
        "attempt_logs",
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_attempt_logs_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempt_logs")),
    )
    op.create_table(
        "outputs",
        sa.Column("attempt_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("removed_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_outputs_attempt_id")),
        sa.PrimaryKeyConstraint("attempt_id", "name", name=op.f("pk_outputs")),
    )
    op.create_index(op.f("ix_outputs_sha256"), "outputs", ["sha256"], unique=False)
    op.create_table(
        "files",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("released_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_files_account_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_files")),
        sa.UniqueConstraint("account_id", "sha256", name=op.f("uq_files_account_id_sha256")),
    )
    op.create_index(op.f("ix_files_sha256"), "files", ["sha256"], unique=False)
    op.create_table(
        "job_files",
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_job_files_job_id")),
        sa.PrimaryKeyConstraint("job_id", "sha256", name=op.f("pk_job_files")),
    )
    op.create_index(op.f("ix_job_files_sha256"), "job_files", ["sha256"], unique=False)
    op.create_table(
        "uploads",
        sa.Column("upload_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=True),
        sa.Column("attempt_id", sa.String(length=36), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("length_bytes", sa.BigInteger(), nullable=False),
        sa.Column("offset_bytes", sa.BigInteger(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_uploads_account_id")),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_uploads_attempt_id")),
        sa.PrimaryKeyConstraint("upload_id", name=op.f("pk_uploads")),
    )
    for column in ("account_id", "attempt_id", "expires_at"):
        op.create_index(op.f(f"ix_uploads_{column}"), "uploads", [column], unique=False)
    first_payouts.upgrade()
    first_trust.upgrade()
    first_settlements.upgrade()


def downgrade() -> None:
    """Drop every table."""
    first_trust.downgrade()
    first_payouts.downgrade()
    first_settlements.downgrade()
    op.drop_table("uploads")
    op.drop_table("job_files")
    op.drop_table("files")
    op.drop_index(op.f("ix_outputs_sha256"), table_name="outputs")
    op.drop_table("outputs")
    op.drop_table("attempt_logs")
    op.drop_index(op.f("ix_attempts_state"), table_name="attempts")
    op.drop_index(op.f("ix_attempts_job_id"), table_name="attempts")
    op.drop_table("attempts")
    op.drop_table("node_orders")
    op.drop_index(op.f("ix_node_days_day"), table_name="node_days")
    op.drop_table("node_days")
    op.drop_index(op.f("ix_node_states_until"), table_name="node_states")
    op.drop_index(op.f("ix_node_states_node_id_until"), table_name="node_states")
    op.drop_table("node_states")
    where = sa.text(_OF_NODES)
    op.drop_index("ix_ledger_postings_nodes", table_name="ledger_postings", sqlite_where=where, postgresql_where=where)
    op.drop_table("ledger_postings")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    for name, _, condition in _PARTIAL:
        where = sa.text(condition)
        op.drop_index(name, table_name="jobs", sqlite_where=where, postgresql_where=where)
    op.drop_index(op.f("ix_jobs_state_seq"), table_name="jobs")
    op.drop_index(op.f("ix_jobs_account_id_seq"), table_name="jobs")
    op.drop_table("jobs")
    op.drop_table("audit_entries")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_entries_append_only()")
    op.drop_table("account_tokens")
    op.drop_table("nodes")
    op.drop_index(op.f("ix_used_challenges_until"), table_name="used_challenges")
    op.drop_table("used_challenges")
    op.drop_table("join_tokens")
    op.drop_table("prices")
    op.drop_index(
        "uq_ledger_entries_kind_reference",
        table_name="ledger_entries",
        sqlite_where=sa.text("reference <> ''"),
        postgresql_where=sa.text("reference <> ''"),
    )
    op.drop_table("ledger_entries")
    op.drop_table("ledger_accounts")
    op.drop_table("job_types")
    op.drop_table("accounts")
