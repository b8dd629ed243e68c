"""What is stored.  Times are seconds since the epoch on the gateway's clock, money whole micro-credits.

The first migration has its own copy of these definitions, and a test compares what both make.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Double, ForeignKey, Index, Integer, Table

from edgeagent.gateway.store.types import String, Text

#: A 64-bit key that the database counts up; SQLite does so for INTEGER only, which is 64 bits wide there.
_Serial = sa.BigInteger().with_variant(Integer, "sqlite")
_Big = sa.BigInteger

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", String(36), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
)

account_tokens = Table(
    "account_tokens",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("token_sha256", String(64), nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.account_id"), nullable=False),
    Column("scopes", String(40), nullable=False),  # see gateway.scopes
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)

#: Who did what, see store.audit; triggers refuse to change or remove a row.
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("at", Double, nullable=False),
    Column("actor", String(150), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(150), nullable=False),
    Column("detail", Text, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("node_id", String(36), nullable=False, unique=True),
    Column("name", String(100), nullable=False),
    Column("name_key", Text, nullable=False, unique=True),  # what makes two names the same
    Column("public_key", Text, nullable=False, unique=True),
    Column("token_epoch", Integer, nullable=False),  # tokens of an earlier one are void
    Column("drained", sa.Boolean, nullable=False),  # by the owner: no new work
    Column("listed", sa.Boolean, nullable=False),  # by its operator: on the leaderboard
    Column("operator", String(40), nullable=False),  # the owner's label, see gateway.trust; empty: the node itself
    Column("capabilities", Text, nullable=False),  # JSON list
    Column("metadata", Text, nullable=False),  # JSON object
    Column("state", String(16), nullable=False),
    Column("failures", Text, nullable=False),  # JSON list of job ids, see gateway.registry
    Column("jobs_completed", _Big, nullable=False),
    Column("earned_ucr", _Big, nullable=False),
    # Of its states that have ended, in seconds; never less than nothing, whatever the clock did meanwhile.
    Column("healthy_s", Double, nullable=False),
    Column("known_s", Double, nullable=False),
    Column("created_at", Double, nullable=False),
)

#: What each node completed and earned on each day of UTC, as far as there was anything.
node_days = Table(
    "node_days",
    metadata,
    Column("node_id", ForeignKey("nodes.node_id"), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),  # since the epoch
    Column("jobs_completed", _Big, nullable=False),
    Column("earned_ucr", _Big, nullable=False),
    Index(None, "day"),
)

#: Every key that a node ever had, in order: what its signatures of then are checked with.
node_keys = Table(
    "node_keys",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("node_id", ForeignKey("nodes.node_id"), nullable=False, index=True),
    Column("public_key", Text, nullable=False),
    Column("since", Double, nullable=False),
)

#: How long each node was in which state, and why it changed: what uptime is computed from.
node_states = Table(
    "node_states",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("node_id", ForeignKey("nodes.node_id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("cause", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double),  # null: the state it is in
    Index(None, "node_id", "until"),
    Index(None, "until"),  # what a window of time holds, and what goes on
)

#: What the owner did to nodes and keys, in order; running gateways look here for what they have not done yet.
node_orders = Table(
    "node_orders",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("node_id", ForeignKey("nodes.node_id")),  # null: the gateway's own keys
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
)

#: Tokens that let a node join, see gateway.members.
join_tokens = Table(
    "join_tokens",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("token_sha256", String(64), nullable=False, unique=True),
    Column("uses_left", Integer),  # null: any number
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),  # null: never
    Column("operator", String(40), nullable=False),  # of nodes that register with it; empty: each for itself
)

#: Challenges that were signed, while they would still be good: each is good once.
used_challenges = Table(
    "used_challenges",
    metadata,
    Column("challenge", String(64), primary_key=True),
    Column("until", Double, nullable=False, index=True),
)

#: Every job type that a node has ever offered.
job_types = Table("job_types", metadata, Column("job_type", String(100), primary_key=True))

jobs = Table(
    "jobs",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("job_id", String(36), nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.account_id"), nullable=False),
    Column("job_type", String(100), nullable=False),
    Column("need", Text, nullable=False),  # gateway.needs.Need
    Column("priority", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("payload", Text, nullable=False),  # JSON object
    Column("payload_ref", Text),
    Column("inputs", Text, nullable=False),  # JSON object of references by name
    Column("limits", Text, nullable=False),  # JSON object
    Column("state", String(16), nullable=False),
    Column("retries", Integer, nullable=False),
    Column("rests_until", Double),  # a retry that rests; null: it may start at once
    Column("deadline_s", Double),
    Column("deadline_at", Double),  # on the gateway's clock as it was at its start, counted on steadily
    Column("current_attempt", String(36)),  # the open attempt, or the one that settled the job
    Column("price_ucr", _Big, nullable=False),  # of each result that is paid
    Column("credited_ucr", _Big, nullable=False),  # to all nodes together
    Column("quorum", Integer, nullable=False),  # most results that are paid: so often is the price set aside
    Column("known_answer", _Big),  # trust_tables.known_answers.seq
    Column("error", Text),
    Column("value", Text),  # JSON
    Column("result_ref", Text),
    Column("progress_fraction", Double),
    Column("progress_text", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),  # of the last attempt that was accepted
    Column("finished_at", Double),
    Column("requeue_of", String(36)),
    Column("requeued_as", String(36)),
    Index(None, "state", "seq"),
    Index(None, "account_id", "seq"),
)
# The queries spell the conditions out too (store.queue): a database uses such an index only where it sees them.  The
# empty text keeps SQLite from taking the index by state instead, and going through every job that waits.
for _name, _columns, _condition in (
    (
        "ix_jobs_waiting",
        (jobs.c.account_id, jobs.c.need, jobs.c.priority.desc(), jobs.c.seq),
        "state || '' = 'QUEUED' AND rests_until IS NULL",
    ),
    ("ix_jobs_resting", (jobs.c.rests_until,), "state || '' = 'QUEUED' AND rests_until IS NOT NULL"),
    ("ix_jobs_deadline", (jobs.c.deadline_at,), "finished_at IS NULL AND deadline_at IS NOT NULL"),
):
    Index(_name, *_columns, sqlite_where=sa.text(_condition), postgresql_where=sa.text(_condition))

#: What a submission with an ``Idempotency-Key`` made, so that the same one again makes nothing.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account_id", ForeignKey("accounts.account_id"), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_sha256", String(64), nullable=False),
    Column("job_ids", Text, nullable=False),  # JSON list
    Column("created_at", Double, nullable=False, index=True),
)

attempts = Table(
    "attempts",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("attempt_id", String(36), nullable=False, unique=True),
    Column("job_id", ForeignKey("jobs.job_id"), nullable=False, index=True),
    Column("node_id", ForeignKey("nodes.node_id"), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("outcome", String(16)),
    Column("detail", Text, nullable=False),
    Column("usage", Text, nullable=False),  # JSON object
    Column("sandbox", Text, nullable=False),  # JSON object
    Column("receipt_sha256", sa.LargeBinary),  # of what ended it, see wire.receipts
    Column("signature", sa.LargeBinary),  # the node's, of its receipt; null: it did not sign
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
)

#: The last lines that an attempt printed, kept when it has ended.
attempt_logs = Table(
    "attempt_logs",
    metadata,
    Column("attempt_id", ForeignKey("attempts.attempt_id"), primary_key=True),
    Column("lines", Text, nullable=False),  # JSON list
)

outputs = Table(
    "outputs",
    metadata,
    Column("attempt_id", ForeignKey("attempts.attempt_id"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("size_bytes", _Big, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("listed", sa.Boolean, nullable=False),  # in the result that was paid for, and so in its receipt
    Column("created_at", Double, nullable=False),
    Column("removed_at", Double),  # its bytes were kept until then
)

#: Files that accounts have uploaded, see store.files.
files = Table(
    "files",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("account_id", ForeignKey("accounts.account_id"), nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("name", String(255), nullable=False),  # as its uploader calls it; may be empty
    Column("size_bytes", _Big, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("released_at", Double),  # its account let go of it; open jobs may still need it
    sa.UniqueConstraint("account_id", "sha256"),
)

#: The gateway's files that a job refers to.
job_files = Table(
    "job_files",
    metadata,
    Column("job_id", ForeignKey("jobs.job_id"), primary_key=True),
    Column("sha256", String(64), primary_key=True, index=True),
)

#: Uploads in progress, and those that were until a short time ago; of an account, or of an attempt.
uploads = Table(
    "uploads",
    metadata,
    Column("upload_id", String(36), primary_key=True),
    Column("account_id", ForeignKey("accounts.account_id"), index=True),
    Column("attempt_id", ForeignKey("attempts.attempt_id"), index=True),
    Column("name", String(255), nullable=False),
    Column("sha256", String(64), nullable=False),  # announced; checked at the end
    Column("length_bytes", _Big, nullable=False),
    Column("offset_bytes", _Big, nullable=False),  # so much is safely on disk
    Column("metadata", Text, nullable=False),  # Upload-Metadata as it came
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("finished_at", Double),
)

#: Each month's tree of settlements (wire.receipts, wire.merkle): its leaves so far, and what they come to.
months = Table(
    "months",
    metadata,
    Column("month", String(7), primary_key=True),
    Column("leaves", _Big, nullable=False),
    Column("credited_ucr", _Big, nullable=False),
    Column("closed_at", _Big),  # null: more may come
)

#: What was paid for each attempt that was credited: the leaves of the months' trees.
settlements = Table(
    "settlements",
    metadata,
    Column("month", ForeignKey("months.month"), primary_key=True),
    Column("place", _Big, primary_key=True, autoincrement=False),
    Column("attempt_id", ForeignKey("attempts.attempt_id"), nullable=False, unique=True),
    Column("credited_ucr", _Big, nullable=False),
    Column("settled_at", _Big, nullable=False),
    Column("leaf", sa.LargeBinary, nullable=False, index=True),  # its hash, by which proofs are asked for
)

#: Hashes of complete subtrees, at the levels that store.settlements keeps.
month_hashes = Table(
    "month_hashes",
    metadata,
    Column("month", ForeignKey("months.month"), primary_key=True),
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("place", _Big, primary_key=True, autoincrement=False),
    Column("hash", sa.LargeBinary, nullable=False),
)

ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    Column("account", String(60), primary_key=True),
    Column("balance_ucr", _Big, nullable=False),
    CheckConstraint("balance_ucr >= 0 OR account = 'issuer'", name="not_negative"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("reference", String(150), nullable=False),  # see ledger.Entry; empty where the entry may repeat
    Column("memo", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("hash", String(64), nullable=False),
    # A job is held for, settled and released at most once each, a month paid out once to a node.
    Index(
        "uq_ledger_entries_kind_reference",
        "kind",
        "reference",
        unique=True,
        sqlite_where=sa.text("reference <> ''"),
        postgresql_where=sa.text("reference <> ''"),
    ),
)

#: Every price that the owner has set, in order; a job type's last one holds, see gateway.ledger.
prices = Table(
    "prices",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("job_type", String(100), nullable=False),
    Column("price_ucr", _Big, nullable=False),
    Column("since", Double, nullable=False),
    CheckConstraint("price_ucr >= 0", name="not_negative"),
)

ledger_postings = Table(
    "ledger_postings",
    metadata,
    Column("entry_seq", ForeignKey("ledger_entries.seq"), primary_key=True),
    Column("account", String(60), primary_key=True),
    Column("amount_ucr", _Big, nullable=False),
)
#: Which postings are of nodes' accounts: few of all, and looked for by node.  The query spells this out, too.
OF_NODES = "substr(account, 1, 5) = 'node:'"
Index(
    "ix_ledger_postings_nodes",
    ledger_postings.c.account,
    ledger_postings.c.entry_seq,
    sqlite_where=sa.text(OF_NODES),
    postgresql_where=sa.text(OF_NODES),
)
