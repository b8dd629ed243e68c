"""The short way of texts and wsproto's own way come to the same, however the bytes are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage

from edgeagent.gateway import frames
from edgeagent.wire.codec import MAX_FRAME_BYTES

#: An event of wsproto's: its kind, and what it carries.
Said = tuple[str, Any, Any]

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 70000)

_events = st.one_of(
    st.builds(TextMessage, data=st.text(max_size=300)),
    st.builds(TextMessage, data=st.text(max_size=20), message_finished=st.just(False)),
    st.builds(BytesMessage, data=st.binary(max_size=20)),
    st.builds(Ping, payload=st.binary(max_size=20)),
    st.builds(Pong, payload=st.binary(max_size=20)),
    st.builds(CloseConnection, code=st.just(1000)),
)


def sent(events: list[Event]) -> list[bytes]:
    """Return what a client sends; nothing more once it has closed, and texts in pieces end."""
    client, pieces = Connection(ConnectionType.CLIENT), []
    for event in events:
        if isinstance(event, Message) and not event.message_finished:
            pieces.append(client.send(event) + client.send(TextMessage(data="end")))
            continue
        pieces.append(client.send(event))
        if isinstance(event, CloseConnection):
            break
    return pieces


def heard(server: Connection, data: bytes) -> list[Said]:
    """Return what wsproto makes of it: the kind and the content of each event."""
    server.receive_data(data)
    return [
        (type(event).__name__, getattr(event, "data", None), getattr(event, "payload", None))
        for event in server.events()
    ]


def joined(said: list[Said]) -> list[Said]:
    """Return the same with pieces of one message put together: where it was cut says nothing."""
    whole: list[Said] = []
    for kind, data, payload in said:
        if whole and data is not None and whole[-1][0] == kind:
            whole[-1] = (kind, whole[-1][1] + data, payload)
        else:
            whole.append((kind, data, payload))
    return whole


@given(events=st.lists(_events, max_size=12), cuts=st.lists(st.integers(min_value=1, max_value=400)))
def test_what_arrives_is_what_wsproto_alone_would_hear(events: list[Event], cuts: list[int]) -> None:
    """Texts, pieces, binary, pings and the close, cut anywhere."""
    stream = b"".join(sent(events))
    plain = heard(Connection(ConnectionType.SERVER), stream)

    splitter, server, both, start = frames.Splitter(), Connection(ConnectionType.SERVER), [], 0
    for size in [*cuts, max(1, len(stream))]:
        for part in splitter.feed(stream[start : start + size]) if start < len(stream) else []:
            both += [("TextMessage", part, None)] if isinstance(part, str) else heard(server, part)
        start += size

    assert joined(both) == joined(plain)


@pytest.mark.parametrize("size", SIZES)
def test_a_text_of_any_size_has_the_short_way(size: int) -> None:
    """The header has three forms, and the mask any remainder."""
    word = "é" if size % 2 == 0 else "e"
    text = word * (size // len(word.encode()))
    (frame,) = sent([TextMessage(data=text)])

    assert frames.Splitter().feed(frame) == [text]


@pytest.mark.parametrize("size", SIZES)
def test_a_client_reads_what_the_server_sends(size: int) -> None:
    """wsproto is the client here."""
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(frames.text("x" * size))
    assert "".join(event.data for event in client.events() if isinstance(event, TextMessage)) == "x" * size


def test_a_text_that_comes_byte_by_byte_is_one_text() -> None:
    """And nothing before its last byte."""
    (frame,) = sent([TextMessage(data="hello" * 40)])
    splitter = frames.Splitter()
    assert [splitter.feed(frame[place : place + 1]) for place in range(len(frame) - 1)] == [[]] * (len(frame) - 1)
    assert splitter.feed(frame[-1:]) == ["hello" * 40]


@pytest.mark.parametrize(
    ("what", "frame"),
    [
        ("not masked", b"\x81\x01x"),
        ("compressed", b"\xc1\x81\0\0\0\0x"),
        ("a size that would fit into less", b"\x81\xfe\0\x01\0\0\0\0x"),
        ("a long size that would fit into less", b"\x81\xff" + (126).to_bytes(8, "big") + bytes(4 + 126)),
        ("too large", b"\x81\xff" + (MAX_FRAME_BYTES + 1).to_bytes(8, "big") + bytes(4)),
        ("not UTF-8", b"\x81\x81\0\0\0\0\xff"),
        ("a control frame that is too large", b"\x89\xfe\0\x7e" + bytes(4 + 126)),
        ("a control frame in pieces", b"\x09\x80\0\0\0\0"),
        ("of no known kind", b"\x83\x80\0\0\0\0"),
        ("a piece", b"\x01\x81\0\0\0\0x"),
        ("binary", b"\x82\x81\0\0\0\0x"),
        ("a close", b"\x88\x80\0\0\0\0"),
    ],
)
def test_what_is_not_plain_is_left_to_wsproto_with_all_that_follows(what: str, frame: bytes) -> None:
    """It alone judges what is wrong, and what may come after."""
    (text,) = sent([TextMessage(data="fine")])
    splitter = frames.Splitter()
    assert splitter.feed(text + frame + text) == ["fine", frame + text], what
    assert splitter.feed(text) == [text], what
