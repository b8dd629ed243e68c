"""Frames: what goes in comes out, and nothing a stranger sends does anything but raise one kind of error."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.wire import messages as m
from edgeagent.wire.codec import (
    MAX_BATCH,
    MAX_FRAME_BYTES,
    TYPES,
    LocalProtocolError,
    RemoteProtocolError,
    decode,
    encode,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
TEXT = st.text(max_size=30)
NAMES = st.lists(TEXT, max_size=4).map(tuple)
NUMBER = st.integers(0, 2**62)
SECONDS = st.floats(0.001, 1e9)
SHARE = st.floats(0, 1)

MESSAGES: dict[type, st.SearchStrategy[m.Message]] = {
    m.Hello: st.builds(m.Hello, version=TEXT, capabilities=NAMES, slots=st.integers(1, 99), gpus=NAMES, held=NAMES),
    m.Welcome: st.builds(
        m.Welcome, heartbeat_s=SECONDS, lease_s=SECONDS, keep=NAMES, drop=NAMES, token=st.none() | TEXT
    ),
    m.Heartbeat: st.builds(m.Heartbeat, seq=NUMBER, load=SHARE, free_slots=NUMBER, running=NAMES),
    m.HeartbeatAck: st.builds(m.HeartbeatAck, seq=NUMBER, state=st.sampled_from(m.NodeState), token=st.none() | TEXT),
    m.JobDispatch: st.builds(
        m.JobDispatch,
        job_id=TEXT,
        attempt_id=TEXT,
        job_type=TEXT,
        payload=st.dictionaries(st.text(), JSON, max_size=4),
        limits=st.builds(m.Limits, wall_s=SECONDS, cpu_s=SECONDS),
        price_ucr=NUMBER,
    ),
    m.JobAccept: st.builds(m.JobAccept, attempt_id=TEXT),
    m.JobDecline: st.builds(m.JobDecline, attempt_id=TEXT, reason=TEXT),
    m.JobProgress: st.builds(m.JobProgress, attempt_id=TEXT, fraction=st.none() | SHARE, text=TEXT, log=NAMES),
    m.JobResult: st.builds(
        m.JobResult,
        job_id=TEXT,
        attempt_id=TEXT,
        outcome=st.sampled_from(m.Outcome),
        detail=TEXT,
        value=JSON,
        result_ref=st.none() | TEXT,
        outputs=st.lists(
            st.builds(
                m.Output,
                name=st.text(
                    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=9
                ),
                size_bytes=NUMBER,
                sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
            ),
            max_size=3,
        ).map(tuple),
        usage=st.builds(m.Usage, wall_s=SECONDS, cpu_s=SECONDS, memory_peak_bytes=NUMBER),
        sandbox=st.builds(
            m.Confinement, tier=TEXT, enforced=NAMES, not_enforced=st.dictionaries(TEXT, TEXT, max_size=3)
        ),
    ),
    m.JobResultAck: st.builds(m.JobResultAck, attempt_id=TEXT, credited_ucr=NUMBER, held=st.booleans()),
    m.JobVerdict: st.builds(m.JobVerdict, attempt_id=TEXT, credited_ucr=NUMBER, reason=TEXT),
    m.JobCancel: st.builds(m.JobCancel, attempt_id=TEXT, reason=TEXT),
    m.Drain: st.builds(m.Drain, reason=TEXT),
    m.Bye: st.builds(m.Bye, reason=TEXT, back_s=SECONDS),
}


def test_every_message_has_a_strategy() -> None:
    """The round-trip test below leaves no message out."""
    assert set(MESSAGES) == set(get_args(m.Message)) == set(TYPES.values())


@given(st.lists(st.one_of(*MESSAGES.values()), min_size=1, max_size=5))
def test_what_is_encoded_is_decoded(batch: list[m.Message]) -> None:
    """Any messages survive the wire unchanged, one alone and several together."""
    assert decode(encode(*batch)) == tuple(batch)


@given(st.text() | JSON.map(json.dumps))
def test_garbage_raises_one_kind_of_error(frame: str) -> None:
    """A frame that is not ours raises RemoteProtocolError and nothing else."""
    with pytest.raises(RemoteProtocolError):
        decode(frame)


@given(st.sampled_from(sorted(TYPES)), st.dictionaries(st.sampled_from(["seq", "load", "attempt_id", "slots"]), JSON))
def test_a_known_type_with_wild_fields_is_read_or_refused(name: str, fields: dict[str, object]) -> None:
    """Wild values in real fields never raise anything but RemoteProtocolError."""
    try:
        said = repr(decode(json.dumps({**fields, "type": name})))
    except RemoteProtocolError as error:
        said = str(error)

    assert name.replace("_", "") in said.replace("_", "").lower()


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"type": "heartbeat", "seq": "1", "load": 0.5, "free_slots": 1}, "expected int, not str @ $.seq"),
        ({"type": "heartbeat", "seq": True, "load": 0.5, "free_slots": 1}, "expected int, not bool @ $.seq"),
        ({"type": "heartbeat", "seq": 1, "load": 2, "free_slots": 1}, "'load' must be <= 1.0"),
        ({"type": "welcome", "heartbeat_s": 15}, "required field missing @ $.lease_s"),
        ({"type": "heartbeat_ack", "seq": 1, "state": "FINE"}, "expected one of REGISTERED"),
        ({"type": "hello", "version": "1", "capabilities": "echo", "slots": 1}, "expected a list, not str"),
        ({"type": "job_dispatch", "job_id": "j", "attempt_id": "a", "job_type": "echo", "payload": []}, "$.payload"),
        ({"type": "steal"}, "unknown message type 'steal'"),
        ({"type": None}, "unknown message type 'None'"),
        ({}, "unknown message type"),
        ([], "1 to 1000 messages, not 0"),
        ([1], "a message is a JSON object, not int"),
    ],
)
def test_the_error_names_what_is_wrong(document: object, complaint: str) -> None:
    """Scalars are not coerced, required fields are required, and the text says which field it was."""
    with pytest.raises(RemoteProtocolError) as caught:
        decode(json.dumps(document))

    assert complaint in str(caught.value)


def test_unknown_keys_are_ignored() -> None:
    """A newer peer may say more than we understand."""
    assert decode('{"type":"job_accept","attempt_id":"a","mood":"good"}') == (m.JobAccept(attempt_id="a"),)


def test_frames_over_the_limit_are_refused_before_parsing() -> None:
    """Size is checked in bytes, not characters."""
    with pytest.raises(RemoteProtocolError, match="over the limit"):
        decode("é" * (MAX_FRAME_BYTES // 2 + 1))


def test_batches_over_the_limit_are_refused() -> None:
    """One array holds at most MAX_BATCH messages."""
    with pytest.raises(RemoteProtocolError, match="1 to 1000"):
        decode(json.dumps([{"type": "job_accept", "attempt_id": "a"}] * (MAX_BATCH + 1)))


def test_deep_nesting_is_refused() -> None:
    """A payload nested deeper than the limit never reaches the code behind."""
    payload = '{"a":' * 70 + "1" + "}" * 70

    with pytest.raises(RemoteProtocolError, match="nested deeper"):
        decode(f'{{"type":"job_dispatch","job_id":"j","attempt_id":"a","job_type":"t","payload":{payload}}}')


def test_binary_frames_are_refused() -> None:
    """The link speaks text."""
    with pytest.raises(RemoteProtocolError, match="binary"):
        decode(b"{}")


def test_we_never_send_what_the_peer_would_refuse() -> None:
    """A frame over the limit is our own bug, found before it is sent."""
    with pytest.raises(LocalProtocolError, match="over the limit"):
        encode(m.Drain(reason="x" * MAX_FRAME_BYTES))
