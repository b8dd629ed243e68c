"""The job channel: whatever the pieces, the same messages; whatever the bytes, a message or a ChannelError."""

from __future__ import annotations

import json
import uuid
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.plugins import channel
from edgeagent.plugins.channel import (
    ChannelError,
    Done,
    LineDecoder,
    Message,
    Progress,
    Start,
    done_line,
    one_line,
    progress_line,
    start_line,
)

JOB_ID = uuid.UUID("6f1f1c1e-94a8-4ad7-a5d1-0f2d53a3c7aa")

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
lines = st.one_of(
    st.builds(progress_line, st.none() | st.floats(0, 1), st.text(max_size=40)),
    st.builds(
        done_line, success=st.booleans(), value=json_values, error=st.none() | st.text(), retryable=st.booleans()
    ),
)
bad_lines = st.sampled_from(
    [b"\n", b"{}\n", b"[]\n", b"\xff\n", b'{"done": {"success": 1}}\n', b'{"progress": {}, "done": {}}\n', b"NaN\n"]
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut ``data`` at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


def decode(parts: list[bytes], **options: Any) -> tuple[list[Message], str | None]:
    """Return the messages of the parts, and the fault that ended them."""
    decoder, messages = LineDecoder(**options), []
    try:
        for part in parts:
            messages += decoder.feed(part)
        decoder.eof()
    except ChannelError as error:
        return messages, str(error)
    return messages, None


def read(line: bytes, **options: Any) -> Message:
    """Return the one message of a line that must be good."""
    messages, fault = decode([line], **options)
    assert fault is None
    (message,) = messages
    return message


@given(st.lists(lines | bad_lines, max_size=6), st.lists(st.integers(0, 10_000)))
def test_pieces_do_not_matter(sent: list[bytes], cuts: list[int]) -> None:
    """However the bytes are cut, the same messages come out, and the same fault."""
    data = b"".join(sent)

    assert decode([data]) == decode(pieces(data, cuts))


@given(st.lists(lines, max_size=6), st.lists(st.integers(0, 10_000)))
def test_good_lines_have_no_fault(sent: list[bytes], cuts: list[int]) -> None:
    """Everything that our own encoder writes, our decoder reads."""
    messages, fault = decode(pieces(b"".join(sent), cuts))

    assert fault is None
    assert len(sent) == len(messages)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_garbage_only_ever_raises_channel_error(data: bytes, cuts: list[int]) -> None:
    """Random bytes are refused or, once in a blue moon, a message; never another exception."""
    decode(pieces(data, cuts))


@given(st.dictionaries(st.sampled_from(["progress", "done", "start"]), json_values, max_size=2) | json_values)
def test_odd_json_only_ever_raises_channel_error(document: Any) -> None:
    """The same for lines that are JSON but of any shape."""
    decode([json.dumps(document).encode() + b"\n"])


@given(json_values)
def test_a_value_comes_back_as_it_went(value: Any) -> None:
    """What the plugin gives is what the agent gets."""
    message = read(done_line(success=True, value=value))

    assert isinstance(message, Done)
    assert value == message.value


def test_start_comes_back_as_it_went() -> None:
    """The job reads what the agent wrote."""
    message = read(start_line(JOB_ID, "echo", {"a": [1, None, "ü"]}), kinds=(Start,))

    assert Start(job_id=JOB_ID, job_type="echo", payload={"a": [1, None, "ü"]}) == message


def test_a_job_cannot_send_start() -> None:
    """The agent's end takes only what a job may say."""
    assert ([], "unexpected message 'start'") == decode([start_line(JOB_ID, "echo", {})])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"", "a line is not JSON"),
        (b"\xff\xfe", "a line is not JSON"),
        (b'{"progress": {"fraction": NaN}}', "a line is not JSON"),
        (b'{"progress": {"fraction": 1e999}}', "a line is not JSON"),
        (b"[" * 5000 + b"]" * 5000, "a line is not JSON"),
        (b"[1]", "a line is not an object with one key"),
        (b'{"progress": {}, "done": {}}', "a line is not an object with one key"),
        (b'{"log": {}}', "unexpected message 'log'"),
        (b'{"a\\nb": {}}', "unexpected message 'a b'"),
        (b'{"progress": []}', "progress is not an object"),
        (b'{"progress": {"fraction": true}}', "fraction has the wrong type, bool"),
        (b'{"progress": {"fraction": -0.1}}', "fraction is outside 0 to 1"),
        (b'{"progress": {"fraction": 2}}', "fraction is outside 0 to 1"),
        (b'{"progress": {"text": 5}}', "text has the wrong type, int"),
        (b'{"done": {}}', "success has the wrong type, NoneType"),
        (b'{"done": {"success": 1}}', "success has the wrong type, int"),
        (b'{"done": {"success": true, "error": ["x"]}}', "error has the wrong type, list"),
        (b'{"done": {"success": true, "result_ref": {}}}', "result_ref has the wrong type, dict"),
        (b'{"done": {"success": true, "retryable": 0}}', "retryable has the wrong type, int"),
        (
            b'{"done": {"success": true, "value": ' + b"[" * 61 + b"]" * 61 + b"}}",
            "value is nested deeper than 60 levels",
        ),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(line: bytes, fault: str) -> None:
    """One clear line for each way to be wrong."""
    messages, told = decode([line + b"\n"])

    assert [] == messages
    assert told is not None
    assert told.startswith(fault)


def test_the_deepest_value_passes() -> None:
    """60 levels are taken, as many as the link can carry on."""
    message = read(b'{"done": {"success": true, "value": ' + b"[" * 60 + b"]" * 60 + b"}}\n")

    assert isinstance(message, Done)
    assert message.success


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_endless_line_is_refused_early(step: int) -> None:
    """The buffer never grows past the limit by more than one piece, and is let go at the fault."""
    decoder = LineDecoder(max_bytes=2000)
    for _ in range(2000 // step):
        assert [] == decoder.feed(b"x" * step)

    with pytest.raises(ChannelError, match="longer than 2000 bytes"):
        decoder.feed(b"x" * step)
    assert not decoder._buffer


def test_a_line_of_the_longest_length_passes() -> None:
    """The limit itself is allowed; one more is not."""
    line = b'{"progress": {"text": "' + b"x" * 50 + b'"}}'

    assert Progress(text="x" * 50) == read(line + b"\n", max_bytes=len(line))
    assert ([], f"a line is longer than {len(line) - 1} bytes") == decode([line + b"\n"], max_bytes=len(line) - 1)


def test_messages_before_a_fault_are_delivered() -> None:
    """A result counts, whatever a library writes after it."""
    decoder = LineDecoder()
    good = done_line(success=True, value=1)

    assert [Done(success=True, value=1)] == decoder.feed(good + b"rubbish\n" + good)
    with pytest.raises(ChannelError, match="not JSON"):
        decoder.feed(b"")


def test_a_fault_stays() -> None:
    """Nothing is read after a fault, even if it would be good."""
    decoder = LineDecoder()
    with pytest.raises(ChannelError):
        decoder.feed(b"{}\n")
    with pytest.raises(ChannelError, match="one key"):
        decoder.feed(done_line(success=True))


def test_an_unfinished_last_line_is_told_at_the_end() -> None:
    """A job killed while it writes leaves no half message."""
    decoder = LineDecoder()

    assert [] == decoder.feed(done_line(success=True)[:-1])
    with pytest.raises(ChannelError, match="no end"):
        decoder.eof()


def test_hostile_text_is_made_one_printable_line() -> None:
    """No escape sequence, line break or flood reaches a terminal or the database."""
    body = {"success": False, "error": "a\x1b[2J\nb\u202e" + "c" * 5000, "result_ref": "s3://\r\nx"}

    message = read(json.dumps({"done": body}).encode() + b"\n")

    assert isinstance(message, Done)
    assert message.error is not None
    assert message.error.startswith("a [2J b ccc")
    assert 1000 == len(message.error)
    assert "s3:// x" == message.result_ref


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_printable_line(text: str, limit: int) -> None:
    """And keeps to its length."""
    shown = one_line(text, limit)

    assert shown.isprintable()
    assert len(shown) <= limit


@pytest.mark.parametrize(
    ("given_fraction", "sent"),
    [(None, None), (0, 0.0), (0.25, 0.25), (1.5, 1.0), (-3, 0.0), (float("nan"), None), (float("inf"), 1.0)],
)
def test_progress_is_clamped(given_fraction: float | None, sent: float | None) -> None:
    """A plugin's arithmetic never costs it the job."""
    assert Progress(fraction=sent, text="t") == read(progress_line(given_fraction, "t"))


def test_a_value_of_exactly_the_limit_passes() -> None:
    """One byte more is refused at both ends."""
    fits = "x" * (channel.MAX_VALUE_BYTES - 2)

    assert Done(success=True, value=fits) == read(done_line(success=True, value=fits))
    with pytest.raises(ChannelError, match=r"262145 bytes of JSON, over the limit of 262144.*output_dir"):
        done_line(success=True, value=fits + "x")
    assert ([], "value is over the limit of 262144 bytes") == decode(
        [json.dumps({"done": {"success": True, "value": fits + "x"}}).encode() + b"\n"]
    )


def cycle() -> dict[str, Any]:
    """Return an object that holds itself, in several places."""
    value: dict[str, Any] = {}
    value |= {"a": value, "b": [value, value], "c": {"d": value}}
    return value


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {1, 2}}, b"bytes", 1 << 70, "\ud800", cycle()])
def test_a_value_that_is_not_json_is_refused(value: Any) -> None:
    """Before a byte of it is sent."""
    with pytest.raises(ChannelError, match=r"^the value is (not JSON|nested deeper)"):
        done_line(success=True, value=value)


def test_a_payload_that_the_job_would_refuse_is_not_sent() -> None:
    """Too deep or too large is the agent's to say."""
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"x": deep}
    with pytest.raises(ChannelError, match="payload is nested deeper than 60"):
        start_line(JOB_ID, "echo", deep)
    with pytest.raises(ChannelError, match="over the limit of 524288"):
        start_line(JOB_ID, "echo", {"x": "y" * channel.MAX_LINE_BYTES})
