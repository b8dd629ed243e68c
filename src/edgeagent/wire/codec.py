"""Messages to text frames and back: the one place where strangers' JSON becomes values.

A frame is one JSON object, or an array of at most ``MAX_BATCH`` of them.  Size and ``type`` are checked before
anything is structured; scalars are never coerced; unknown keys are ignored (an old peer stays useful), unknown types
refused.  Whatever is wrong with a frame becomes one ``RemoteProtocolError`` that names the message and the field.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

import cattrs
import orjson
from cattrs.preconf.orjson import make_converter
from cattrs.v import format_exception

from edgeagent.wire.messages import Message, NodeState, Outcome

#: Largest frame either side takes, in bytes; what RenderTrust's own node takes too, so both dialects share it.
MAX_FRAME_BYTES = 1 << 20
#: Most messages in one array: keeps one frame from holding up the loop that reads it.
MAX_BATCH = 1000
#: Deepest nesting of a payload or result; beyond it a JSON parser's own recursion becomes the sender's to control.
MAX_DEPTH = 64


T = TypeVar("T")


class ProtocolError(Exception):
    """A message that may not be: this one's class says whose fault it is."""


class LocalProtocolError(ProtocolError):
    """Our own code tried to send what it may not: a bug here."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what it may not: the link ends."""


def type_name(message: type[Message]) -> str:
    """Return a message class's name on the wire: ``JobResultAck`` is ``job_result_ack``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", message.__name__).lower()


TYPES: dict[str, type[Message]] = {type_name(cls): cls for cls in get_args(Message)}
_NAMES = {cls: name for name, cls in TYPES.items()}

converter = make_converter()


def _strict(wanted: type) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not wanted:
            raise TypeError(f"expected {wanted.__name__}, not {type(value).__name__}")
        return value

    return structure


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"expected a number, not {type(value).__name__}")
    return float(value)


def _strings(value: Any, kind: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, not {type(value).__name__}")
    if not all(type(item) is str for item in value):
        raise TypeError("expected a list of strings")
    return tuple(value)


def _word(value: Any, kind: type[enum.StrEnum]) -> enum.StrEnum:
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"expected one of {', '.join(kind)}") from None


for _scalar in (int, str, bool):
    converter.register_structure_hook(_scalar, _strict(_scalar))
converter.register_structure_hook(float, _number)
converter.register_structure_hook_func(lambda kind: kind == tuple[str, ...], _strings)
for _words in (Outcome, NodeState):
    converter.register_structure_hook(_words, _word)


def structure(value: Any, kind: type[T]) -> T:
    """Return ``value`` (parsed JSON) as ``kind``, or raise ``ValueError`` with one line that names the field."""
    try:
        return converter.structure(value, kind)
    except (cattrs.BaseValidationError, TypeError, ValueError, KeyError) as error:
        raise ValueError("; ".join(cattrs.transform_error(error, format_exception=_explain)[:3])) from None


def _explain(error: BaseException, kind: type | None) -> str:
    ours = isinstance(error, TypeError | ValueError) and error.args and isinstance(error.args[0], str)
    return error.args[0][:200] if ours else format_exception(error, kind)


def encode(*messages: Message) -> str:
    """Return one text frame with these messages, in this order.

    Raises:
        LocalProtocolError: no message, or a frame that the peer would refuse as too large.
    """
    if not messages:
        raise LocalProtocolError("a frame holds at least one message")
    documents = [{"type": _NAMES[type(message)], **converter.unstructure(message)} for message in messages]
    frame = orjson.dumps(documents[0] if len(documents) == 1 else documents)
    if len(frame) > MAX_FRAME_BYTES:
        raise LocalProtocolError(f"a frame of {len(frame)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return frame.decode()


def decode(frame: str | bytes) -> tuple[Message, ...]:
    """Return the messages of one frame.

    Raises:
        RemoteProtocolError: not text, too large, not JSON, or not messages; says which and where.
    """
    document = parse(frame)
    documents = document if isinstance(document, list) else [document]
    if not 1 <= len(documents) <= MAX_BATCH:
        raise RemoteProtocolError(f"a frame holds 1 to {MAX_BATCH} messages, not {len(documents)}")
    return tuple(_message(one) for one in documents)


def parse(frame: str | bytes) -> Any:
    """Return the JSON of one frame, of whatever kind.

    Raises:
        RemoteProtocolError: not text, too large, or not JSON.
    """
    if not isinstance(frame, str):
        raise RemoteProtocolError("binary frames are not part of this protocol")
    if len(frame) > MAX_FRAME_BYTES or len(frame.encode("utf-8", "surrogatepass")) > MAX_FRAME_BYTES:
        raise RemoteProtocolError(f"the frame is over the limit of {MAX_FRAME_BYTES} bytes")
    try:
        return orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise RemoteProtocolError(f"the frame is not JSON: {error}") from None


def _message(document: Any) -> Message:
    if not isinstance(document, Mapping):
        raise RemoteProtocolError(f"a message is a JSON object, not {type(document).__name__}")
    name = document.get("type")
    if not isinstance(name, str) or name not in TYPES:
        raise RemoteProtocolError(f"unknown message type {str(name)[:40]!r}")
    if depth_exceeds(document, MAX_DEPTH):
        raise RemoteProtocolError(f"{name} is nested deeper than {MAX_DEPTH} levels")
    try:
        return structure(document, TYPES[name])
    except ValueError as error:
        raise RemoteProtocolError(f"{name}: {error}") from None


def depth_exceeds(document: Any, limit: int) -> bool:
    """Return whether JSON is nested deeper than ``limit`` levels, without recursion of our own."""
    level = [document]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
