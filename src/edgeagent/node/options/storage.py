"""The options of what a node keeps on its disk, and of what it fetches for jobs.  Pure."""

from __future__ import annotations

import attrs

from edgeagent.node.options.declare import option
from edgeagent.node.options.kinds import Maybe, Size, Span, Switch, Text
from edgeagent.node.room import Rules

_USUAL = Rules()


@attrs.frozen(kw_only=True)
class Disk:
    """How much of the disk is used, and how much never; below the floor no jobs are taken."""

    floor_bytes: int | None = option(
        Maybe(Size(1), "auto"),
        None,
        "What stays free of the disk that the node's home is on; the cache gives way first.",
        name="floor",
        default_said="auto: 1G, or a twentieth of a disk below 20G",
    )
    cache_bytes: int = option(
        Size(1), _USUAL.cache_bytes, "Most bytes of jobs' inputs that are kept for later jobs.", name="cache"
    )
    spool_bytes: int = option(
        Size(1), _USUAL.spool_bytes, "Most bytes of results that wait for the gateway.", name="spool"
    )

    @property
    def rules(self) -> Rules:
        """The same, as the decision takes it."""
        return Rules(floor_bytes=self.floor_bytes, cache_bytes=self.cache_bytes, spool_bytes=self.spool_bytes)


@attrs.frozen(kw_only=True)
class Fetch:
    """What is fetched for jobs whose payload or inputs lie elsewhere."""

    time_s: float = option(
        Span(1), 3600.0, "Time that fetching may take for one job; its own limit starts afterwards.", name="time"
    )
    private: bool = option(
        Switch(), False, "Let jobs' addresses lead into networks that are not public, this machine's own among them."
    )
    s3_endpoint: str | None = option(Maybe(Text("an address"), "amazon"), None, "The server that s3:// stands for.")
    s3_region: str = option(Text("a region's name"), "us-east-1", "The region of its buckets.")
    s3_keys: str | None = option(
        Maybe(Text("a file with the key's id in its first line and the secret in its second"), "none"),
        None,
        "What to sign requests to S3 with; jobs can read whatever it can. Without, public buckets only.",
    )
