"""What a gateway is told when it starts."""

from __future__ import annotations

from pathlib import Path

import attrs
from attrs.validators import gt


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """Where a gateway keeps its things and how patient it is; durations in seconds.

    The defaults of ``unhealthy_s`` and ``offline_s`` are the operator guide's.  ``lease_s`` is four heartbeats: one
    more than the three silent ones that make a node reconnect, so a node that comes back still owns its work.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080  # 0 takes a free one
    heartbeat_s: float = attrs.field(default=15.0, validator=gt(0))
    lease_s: float = attrs.field(default=60.0, validator=gt(0))
    unhealthy_s: float = attrs.field(default=90.0, validator=gt(0))
    offline_s: float = attrs.field(default=300.0, validator=gt(0))

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data_dir / "gateway.db"

    @property
    def blobs(self) -> Path:
        """Where files are kept, by digest."""
        return self.data_dir / "blobs"
