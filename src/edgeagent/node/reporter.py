"""What a running job shows of itself: its newest progress and its last lines of output.  Pure.

A job may print megabytes a second; what is kept is bounded, and what does not fit is counted and said.  Called by
``node.sandboxed``, which sends what ``take`` returns a few times a second.
"""

from __future__ import annotations

import codecs
from collections import deque

from edgeagent.node.outbox import MAX_LOG_LINES
from edgeagent.wire.messages import JobProgress

#: Longest log line, in characters; the rest of a longer one is cut off.
MAX_LINE_CHARS = 1000


class Reporter:
    """Collects for one attempt."""

    def __init__(self, attempt_id: str) -> None:
        self._attempt_id = attempt_id
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._fraction: float | None = None
        self._text = ""
        self._changed = False
        self._lines: deque[str] = deque(maxlen=MAX_LOG_LINES - 1)  # one is left for the line that counts the others
        self._left_out = 0
        self._partial = ""

    def progress(self, fraction: float | None, text: str) -> None:
        """Note how far the job says it is."""
        self._fraction, self._text, self._changed = fraction, text, True

    def output(self, data: bytes, *, final: bool = False) -> None:
        """Note a piece of what the job printed; ``final`` ends the last line."""
        first, *others = (self._decoder.decode(data, final) + ("\n" if final else "")).split("\n")
        self._extend(first)
        for piece in others:
            self._end_line()
            self._extend(piece)

    def take(self) -> JobProgress | None:
        """Return what is new since the last call, or None."""
        if not self._changed and not self._lines:
            return None
        left_out = [f"... {self._left_out} lines left out ..."] if self._left_out else []
        message = JobProgress(
            attempt_id=self._attempt_id, fraction=self._fraction, text=self._text, log=(*left_out, *self._lines)
        )
        self._changed, self._left_out = False, 0
        self._lines.clear()
        return message

    def _extend(self, piece: str) -> None:
        self._partial += piece[: MAX_LINE_CHARS - len(self._partial)]

    def _end_line(self) -> None:
        line = "".join(char if char.isprintable() else " " for char in self._partial).rstrip()
        self._partial = ""
        if not line:
            return
        if len(self._lines) == self._lines.maxlen:
            self._left_out += 1
        self._lines.append(line)
