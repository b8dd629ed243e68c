"""Just enough of WebSocket (RFC 6455) for a load generator: text frames out, frames in.  Pure.

A client has to mask what it sends.  The mask here is zero, which leaves the text as it is: this end saves the work, and
the gateway undoes it like any other.
"""

from __future__ import annotations

_TEXT, _CLOSE = 0x1, 0x8
_FIN, _MASKED = 0x80, 0x80
_NO_MASK = bytes(4)


class ClosedError(Exception):
    """The peer has closed the link; the text is its code and reason."""


def text(payload: bytes) -> bytes:
    """Return the frame that carries ``payload``."""
    size = len(payload)
    if size < 126:
        head = bytes((_FIN | _TEXT, _MASKED | size))
    elif size < 1 << 16:
        head = bytes((_FIN | _TEXT, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | _TEXT, _MASKED | 127)) + size.to_bytes(8, "big")
    return head + _NO_MASK + payload


class Reader:
    """Collects what arrives and gives it back frame by frame."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the text of each frame that is complete now.

        Raises:
            ClosedError: the peer says goodbye.
            ValueError: a frame that this end has no use for: binary, in pieces, a ping.
        """
        pending = self._pending + data if self._pending else data
        texts, start, there = [], 0, len(pending)
        while there - start >= 2:
            size, body = pending[start + 1], start + 2
            if size >= 126:
                wide = 2 if size == 126 else 8
                if there - body < wide:
                    break
                size, body = int.from_bytes(pending[body : body + wide], "big"), body + wide
            if there - body < size:
                break
            payload = pending[body : body + size]
            if pending[start] == _FIN | _CLOSE:
                raise ClosedError(f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')}")
            if pending[start] != _FIN | _TEXT:
                raise ValueError(f"a frame of kind {pending[start]:#x}")
            texts.append(payload)
            start = body + size
        self._pending = pending[start:]
        return texts
