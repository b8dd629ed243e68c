"""What a gateway is told when it starts."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from attrs.validators import ge, gt

from edgeagent.gateway.ceilings import Ceilings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from edgeagent.gateway.proxies import Network


class Registration(enum.StrEnum):
    """Who may register a node."""

    OPEN = "open"
    TOKEN = "token"  # noqa: S105 -- a way to register: with a join token
    APPROVAL = "approval"  # anybody, but the owner has to approve the node before it gets work


@attrs.frozen(kw_only=True)
class MonthlyPayouts:
    """How the gateway pays each month that is over: by the rail of this name, nobody who is owed less than this."""

    rail: str
    minimum_ucr: int = attrs.field(validator=ge(0))


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """Where a gateway keeps its things and how patient it is; durations in seconds.

    The defaults of ``unhealthy_s`` and ``offline_s`` are the operator guide's.  ``lease_s`` is four heartbeats: one
    more than the three silent ones that make a node reconnect, so a node that comes back still owns its work.
    """

    data_dir: Path
    postgres: sa.URL | None = None  # the database; without one it is a file in ``data_dir``
    host: str = "127.0.0.1"
    port: int = 8080  # 0 takes a free one
    #: Files of the certificate and its key, for TLS without a proxy; both or none.
    tls: tuple[Path, Path] | None = None
    #: Networks of proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed.
    trusted_proxies: tuple[Network, ...] = ()
    heartbeat_s: float = attrs.field(default=15.0, validator=gt(0))
    lease_s: float = attrs.field(default=60.0, validator=gt(0))
    unhealthy_s: float = attrs.field(default=90.0, validator=gt(0))
    offline_s: float = attrs.field(default=300.0, validator=gt(0))
    #: Between two looks for what is due; what wakes somebody anyway is looked for several times as rarely.
    look_s: float = attrs.field(default=1.0, validator=gt(0))
    registration: Registration = Registration.OPEN
    ceilings: Ceilings = attrs.field(factory=Ceilings)

    #: What an account may store.
    quota_bytes: int = attrs.field(default=10 << 30, validator=ge(0))
    #: How long the files of a completed job are kept: 30 days.
    keep_outputs_s: float = attrs.field(default=30 * 86400.0, validator=gt(0))

    #: None: the owner pays by hand.
    monthly_payouts: MonthlyPayouts | None = None

    @property
    def database(self) -> Path | sa.URL:
        """Where the database is: the SQLite file, or PostgreSQL."""
        return self.data_dir / "gateway.db" if self.postgres is None else self.postgres

    @property
    def blobs(self) -> Path:
        """Where files are kept, by digest."""
        return self.data_dir / "blobs"

    @property
    def parts(self) -> Path:
        """Where uploads in progress are, on the same disk."""
        return self.blobs / "parts"
