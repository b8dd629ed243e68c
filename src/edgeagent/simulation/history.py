"""What happened, in order: every frame that passed the gateway's door, every fault, every life of a process.

Two runs took the same course if their histories have the same digest.  The digest covers each frame whole (tokens too:
the gateway's key is drawn from the seed); what is kept to be looked at are the counts and the credits.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import orjson
import trio


class History:
    """Grows from the start of the simulation."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self.counts: Counter[str] = Counter()
        self.credited: dict[str, set[int]] = {}  # attempt: micro-credits that its node was told, each time

    def note(self, kind: str, where: str, what: str = "") -> None:
        """Something happened now."""
        self.counts[kind] += 1
        self._digest.update(f"{trio.current_time():.6f}\t{kind}\t{where}\t{what}\n".encode())

    def said(self, node_id: str, frame: str) -> None:
        """The gateway sends a frame."""
        self.note("out", node_id, frame)
        if '"job_result_ack"' in frame or '"job_verdict"' in frame:
            found = orjson.loads(frame)
            for message in found if isinstance(found, list) else [found]:
                if message["type"] in {"job_result_ack", "job_verdict"}:
                    self.credited.setdefault(message["attempt_id"], set()).add(message["credited_ucr"])

    def digest(self) -> str:
        """Return a fingerprint of everything so far."""
        return self._digest.hexdigest()
