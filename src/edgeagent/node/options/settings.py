"""All of a node's settings as one value, and the table of its options.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgeagent.node.options import sections as parts
from edgeagent.node.options import storage
from edgeagent.node.options.declare import Option, options, section, sections


@attrs.frozen(kw_only=True)
class Settings:
    """What the owner wants; every field is a section of ``config.toml``."""

    share: parts.Share = section(parts.Share)
    gpu: parts.Gpu = section(parts.Gpu)
    capabilities: parts.Capabilities = section(parts.Capabilities)
    limits: parts.Limits = section(parts.Limits)
    schedule: parts.Schedule = section(parts.Schedule)
    pause: parts.Pause = section(parts.Pause)
    shutdown: parts.Shutdown = section(parts.Shutdown)
    sandbox: parts.Sandbox = section(parts.Sandbox)
    disk: storage.Disk = section(storage.Disk)
    fetch: storage.Fetch = section(storage.Fetch)
    log: parts.Log = section(parts.Log)
    health: parts.Health = section(parts.Health)


#: Every option, in the order in which an owner reads of them.
OPTIONS: tuple[Option, ...] = tuple(options(Settings))


def build(values: Mapping[str, Any]) -> Settings:
    """Return the settings that hold these values, by key."""
    made = {}
    for title, cls in sections(Settings).items():
        own = [option for option in OPTIONS if option.key.startswith(f"{title}.")]
        made[title] = cls(**{option.field: values[option.key] for option in own})
    return Settings(**made)
