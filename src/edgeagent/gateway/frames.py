"""The frames of a link that have a way of their own: whole text messages.  Pure; RFC 6455, section 5.2.

wsproto reads and writes all that WebSocket knows, and takes several times as long as need be for what nearly every
frame of a link is: one text, not compressed, not in pieces.  Those are taken out here.  Pings and pongs are left to
wsproto one by one, and so is, with everything that follows it, whatever else there is: it alone judges what is wrong.
"""

from __future__ import annotations

from edgeagent.wire.codec import MAX_FRAME_BYTES

_TEXT, _PING, _PONG = 0x81, 0x89, 0x8A  # each with FIN, and no extension
_MASKED = 0x80
_SHORT = 126  # sizes below are in the second byte; it and the next one say how many bytes the size has
_MASK_BYTES = 4


def text(payload: str) -> bytes:
    """Return the frame in which a server sends ``payload``."""
    data = payload.encode()
    size = len(data)
    if size < _SHORT:
        return bytes((_TEXT, size)) + data
    if size < 1 << 16:
        return bytes((_TEXT, _SHORT)) + size.to_bytes(2, "big") + data
    return bytes((_TEXT, _SHORT + 1)) + size.to_bytes(8, "big") + data


class Splitter:
    """Takes apart what a client sends: texts as ``str``, everything else as the ``bytes`` that wsproto is to have."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._wanted = 0  # bytes without which the first frame in ``_pending`` cannot be complete
        self._gave_up = False

    def feed(self, data: bytes) -> list[str | bytes]:
        """Return what is complete now, in the order in which it came."""
        if self._gave_up:
            return [data]
        if self._pending:
            self._pending += data
            if len(self._pending) < self._wanted:
                return []
            data = bytes(self._pending)
            self._pending = bytearray()
        found: list[str | bytes] = []
        start = 0
        while start < len(data):
            span = _span(data, start)
            if span is not None and span[1] > len(data):
                self._pending, self._wanted = bytearray(data[start:]), span[1] - start
                break
            taken = None if span is None else _taken(data, start, *span)
            if span is None or taken is None:
                self._gave_up = True
                found.append(data[start:])
                break
            found.append(taken)
            start = span[1]
        return found


def _span(data: bytes, start: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at ``start`` begins and ends, as far as the header is there to say.

    None for a frame that is wsproto's; an end beyond ``data`` for one that is not complete.
    """
    there = len(data) - start
    if there < 2:
        return start, start + 2
    kind, size = data[start], data[start + 1] - _MASKED
    if size < 0 or (kind != _TEXT and not (kind in (_PING, _PONG) and size < _SHORT)):
        return None
    body = start + 2 + _MASK_BYTES
    if size >= _SHORT:
        wide, least = (2, _SHORT) if size == _SHORT else (8, 1 << 16)
        body += wide
        if there < 2 + wide:
            return body, body
        size = int.from_bytes(data[start + 2 : start + 2 + wide], "big")
        if not least <= size <= MAX_FRAME_BYTES:
            return None
    return body, body + size


def _taken(data: bytes, start: int, body: int, end: int) -> str | bytes | None:
    """Return a text, or another frame as it is; None for a text that is not UTF-8."""
    if data[start] != _TEXT:
        return data[start:end]
    mask, payload = data[body - _MASK_BYTES : body], data[body:end]
    if any(mask):
        size = len(payload)
        key = (mask * (size // _MASK_BYTES + 1))[:size]
        payload = (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None
