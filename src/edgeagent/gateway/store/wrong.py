"""What an auditor of the books says."""

from __future__ import annotations

import attrs


@attrs.frozen
class Wrong:
    """Something that does not hold; ``seq`` is the entry, where it is one."""

    what: str
    seq: int | None = None
