"""What lets a node in: tokens to join with, and challenges that were signed."""

from __future__ import annotations

import attrs
import sqlalchemy as sa

from edgeagent.gateway.store.tables import join_tokens, used_challenges
from edgeagent.gateway.store.writer import Tx


@attrs.frozen
class JoinToken:
    """A join token as its owner may see it; ``name`` is the start of its hash, the token itself is not kept."""

    name: str
    uses_left: int | None
    created_at: float
    expires_at: float | None
    operator: str  # of nodes that register with it; empty: each stands for itself


def add_join_token(tx: Tx, token_sha256: str, uses: int | None, life_s: float | None, operator: str = "") -> None:
    """Store a join token: for so many nodes, all of this operator, and for so many seconds; None sets no bound."""
    expires_at = None if life_s is None else tx.now + life_s
    tx.connection.execute(
        sa.insert(join_tokens).values(
            token_sha256=token_sha256, uses_left=uses, created_at=tx.now, expires_at=expires_at, operator=operator
        )
    )


def use_join_token(tx: Tx, token_sha256: str) -> str | None:
    """Count a use of a join token and return its operator; None where it is none, has ended, or is used up."""
    this = join_tokens.c.token_sha256 == token_sha256
    good = (
        this,
        sa.or_(join_tokens.c.expires_at.is_(None), join_tokens.c.expires_at > tx.now),
        sa.or_(join_tokens.c.uses_left.is_(None), join_tokens.c.uses_left > 0),
    )
    used = sa.update(join_tokens).where(*good).values(uses_left=join_tokens.c.uses_left - 1)
    if tx.connection.execute(used).rowcount != 1:
        return None
    return str(tx.connection.execute(sa.select(join_tokens.c.operator).where(this)).scalar_one())


def all_join_tokens(tx: Tx) -> list[JoinToken]:
    """Return every join token, oldest first."""
    rows = tx.connection.execute(sa.select(join_tokens).order_by(join_tokens.c.seq))
    return [
        JoinToken(row.token_sha256[:12], row.uses_left, row.created_at, row.expires_at, row.operator) for row in rows
    ]


def remove_join_token(tx: Tx, name: str) -> int:
    """Forget the join tokens of this name; return how many there were."""
    start = sa.func.substr(join_tokens.c.token_sha256, 1, 12)
    return tx.connection.execute(sa.delete(join_tokens).where(start == name)).rowcount


def use_challenge(tx: Tx, challenge: str, until: float) -> bool:
    """Remember that a challenge was used; False if it was before.  Those that have ended are forgotten."""
    tx.connection.execute(sa.delete(used_challenges).where(used_challenges.c.until < tx.now))
    known = sa.select(used_challenges.c.challenge).where(used_challenges.c.challenge == challenge)
    if tx.connection.scalar(known) is not None:
        return False
    tx.connection.execute(sa.insert(used_challenges).values(challenge=challenge, until=until))
    return True
