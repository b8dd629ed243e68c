"""The talk between the agent and a job process: newline-delimited JSON over one socket, the same code at both ends.

The agent sends one line, ``{"start": ...}``; the job answers with any number of ``{"progress": ...}`` and one
``{"done": ...}``.  Pure: bytes in, values out.  The job's end may be in hostile hands, so the one rule is that whatever
arrives becomes either a checked value or a ``ChannelError``: sizes, nesting, types and text are all bounded here, and
what passes can be stored, shown on a terminal and sent on over the link as it is.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import attrs
import orjson

#: Longest line either end takes, newline excluded, in bytes.
MAX_LINE_BYTES = 512 << 10
#: Largest ``Done.value``, in bytes of JSON: a result is kept in the gateway's database; anything bigger is a file.
MAX_VALUE_BYTES = 256 << 10
#: Deepest nesting of a payload or a value.  The link refuses messages deeper than 64 (wire/codec.py).
MAX_DEPTH = 60
#: Longest text of progress and of an error, in characters.
MAX_TEXT_CHARS = 1000
#: Longest ``result_ref``, in characters.
MAX_REF_CHARS = 2000


class ChannelError(Exception):
    """What arrived, or what should be sent, may not go over the channel; the text says why in one line."""


@attrs.frozen(kw_only=True)
class Start:
    """Agent to job: what to do."""

    job_id: uuid.UUID
    job_type: str
    payload: dict[str, Any]
    inputs: str | None = None  # the directory that its input files are in


@attrs.frozen(kw_only=True)
class Progress:
    """Job to agent: how far it is."""

    fraction: float | None = None  # 0 to 1
    text: str = ""  # one printable line


@attrs.frozen(kw_only=True)
class Done:
    """Job to agent: how it ended.  The fields are WorkerResult's."""

    success: bool
    value: Any = None
    result_ref: str | None = None
    error: str | None = None  # one printable line
    retryable: bool = True


Message = Start | Progress | Done


def one_line(text: str, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return ``text`` on one line without control characters, cut to ``max_chars`` with an ellipsis."""
    # Ten times the limit is cut off first: collapsing the blanks of megabytes would be work for nothing.
    shown = "".join(char if char.isprintable() else " " for char in text[: 10 * max_chars])
    line = " ".join(shown.split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def start_line(job_id: uuid.UUID | str, job_type: str, payload: dict[str, Any], inputs: str | None = None) -> bytes:
    """Return the agent's one line.

    Raises:
        ChannelError: the payload is not JSON, too deep or too large.
    """
    if nested_deeper(payload, MAX_DEPTH):
        raise ChannelError(f"the payload is nested deeper than {MAX_DEPTH} levels")
    return _line("start", {"job_id": str(job_id), "job_type": job_type, "payload": payload, "inputs": inputs})


def progress_line(fraction: float | None, text: str = "") -> bytes:
    """Return a progress line; a fraction outside 0 to 1 is clamped, one that is no number is left out."""
    if fraction is not None:
        fraction = min(max(float(fraction), 0.0), 1.0) if fraction == fraction else None  # noqa: PLR0124 (NaN)
    return _line("progress", {"fraction": fraction, "text": one_line(text)})


def done_line(
    *,
    success: bool,
    value: Any = None,
    result_ref: str | None = None,
    error: str | None = None,
    retryable: bool = True,
) -> bytes:
    """Return the job's last line.

    Raises:
        ChannelError: the value is not JSON, too deep or larger than ``MAX_VALUE_BYTES``.
    """
    if nested_deeper(value, MAX_DEPTH):
        raise ChannelError(f"the value is nested deeper than {MAX_DEPTH} levels")
    size_bytes = len(_dumps(value, "value"))
    if size_bytes > MAX_VALUE_BYTES:
        raise ChannelError(
            f"the value is {size_bytes} bytes of JSON, over the limit of {MAX_VALUE_BYTES}; "
            "write it to a file in current_job().output_dir instead"
        )
    body = {
        "success": success,
        "value": value,
        "result_ref": None if result_ref is None else one_line(result_ref, MAX_REF_CHARS),
        "error": None if error is None else one_line(error),
        "retryable": retryable,
    }
    return _line("done", body)


def _dumps(document: Any, what: str) -> bytes:
    try:
        return orjson.dumps(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise ChannelError(f"the {what} is not JSON: {one_line(str(error))}") from None


def _line(kind: str, body: dict[str, Any]) -> bytes:
    line = _dumps({kind: body}, {"start": "payload", "done": "result"}.get(kind, kind))
    if len(line) > MAX_LINE_BYTES:
        raise ChannelError(f"the {kind} line is {len(line)} bytes, over the limit of {MAX_LINE_BYTES}")
    return line + b"\n"


def nested_deeper(document: Any, levels: int) -> bool:
    """Return whether lists and objects in ``document`` nest deeper than ``levels``; a cycle always does."""
    row = [document]
    for _ in range(levels + 1):
        # By identity, so that a row never outgrows the document, however often parts of it share others.
        boxes = {id(item): item for item in row if isinstance(item, dict | list | tuple)}
        if not boxes:
            return False
        row = [child for box in boxes.values() for child in (box.values() if isinstance(box, dict) else box)]
    return True


class LineDecoder:
    """Bytes in, messages out, in whatever pieces they come.

    The first fault ends it: messages before the fault are still delivered, whatever the pieces were; then every call
    raises that ``ChannelError``.
    """

    def __init__(self, max_bytes: int = MAX_LINE_BYTES, kinds: tuple[type[Message], ...] = (Progress, Done)) -> None:
        """Take lines of at most ``max_bytes`` that hold one of ``kinds``; the default is the agent's end."""
        self._max_bytes = max_bytes
        self._kinds = {kind.__name__.lower(): _PARSERS[kind] for kind in kinds}
        self._buffer = bytearray()
        self._fault: ChannelError | None = None

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that ``data`` completes, in order.

        Raises:
            ChannelError: a line is not a message that this end takes.  If good messages came before it in ``data``,
                they are returned first and the next call raises.
        """
        messages: list[Message] = []
        if self._fault is None:
            self._scan(data, messages)
        if self._fault is not None and not messages:
            raise self._fault
        return messages

    def eof(self) -> None:
        """Say that nothing more comes.

        Raises:
            ChannelError: a fault is still to be told, or the last line has no end.
        """
        if self._fault is None and self._buffer:
            self._fail("the last line has no end")
        if self._fault is not None:
            raise self._fault

    def _scan(self, data: bytes, messages: list[Message]) -> None:
        *lines, rest = data.split(b"\n")
        for end in lines:
            self._buffer += end
            if len(self._buffer) > self._max_bytes:
                break
            try:
                messages.append(self._parse(bytes(self._buffer)))
            except ChannelError as error:
                self._fail(str(error))
                return
            self._buffer.clear()
        else:
            self._buffer += rest
        if len(self._buffer) > self._max_bytes:
            self._fail(f"a line is longer than {self._max_bytes} bytes")

    def _fail(self, why: str) -> None:
        self._fault = ChannelError(why)
        self._buffer.clear()

    def _parse(self, line: bytes) -> Message:
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ChannelError(f"a line is not JSON: {error}") from None
        if not isinstance(document, dict) or len(document) != 1:
            raise ChannelError("a line is not an object with one key")
        (name, body), *_ = document.items()
        if name not in self._kinds:
            raise ChannelError(f"unexpected message {one_line(name, 40)!r}")
        if not isinstance(body, dict):
            raise ChannelError(f"{name} is not an object")
        return self._kinds[name](body)


def _field(body: dict[str, Any], name: str, *kinds: type, default: Any = None) -> Any:
    value = body.get(name, default)
    if type(value) not in kinds:
        raise ChannelError(f"{name} has the wrong type, {type(value).__name__}")
    return value


def _start(body: dict[str, Any]) -> Start:
    try:
        job_id = uuid.UUID(_field(body, "job_id", str))
    except ValueError:
        raise ChannelError("job_id is not a UUID") from None
    payload = _field(body, "payload", dict)
    if nested_deeper(payload, MAX_DEPTH):
        raise ChannelError(f"payload is nested deeper than {MAX_DEPTH} levels")
    inputs = _field(body, "inputs", str, type(None))
    return Start(job_id=job_id, job_type=_field(body, "job_type", str), payload=payload, inputs=inputs)


def _progress(body: dict[str, Any]) -> Progress:
    fraction = _field(body, "fraction", int, float, type(None))
    if fraction is not None and not 0 <= fraction <= 1:
        raise ChannelError("fraction is outside 0 to 1")
    text = one_line(_field(body, "text", str, default=""))
    return Progress(fraction=None if fraction is None else float(fraction), text=text)


def _done(body: dict[str, Any]) -> Done:
    value = body.get("value")
    if nested_deeper(value, MAX_DEPTH):
        raise ChannelError(f"value is nested deeper than {MAX_DEPTH} levels")
    if len(_dumps(value, "value")) > MAX_VALUE_BYTES:
        raise ChannelError(f"value is over the limit of {MAX_VALUE_BYTES} bytes")
    ref = _field(body, "result_ref", str, type(None))
    error = _field(body, "error", str, type(None))
    return Done(
        success=_field(body, "success", bool),
        value=value,
        result_ref=None if ref is None else one_line(ref, MAX_REF_CHARS),
        error=None if error is None else one_line(error),
        retryable=_field(body, "retryable", bool, default=True),
    )


_PARSERS: dict[type[Message], Callable[[dict[str, Any]], Message]] = {Start: _start, Progress: _progress, Done: _done}
