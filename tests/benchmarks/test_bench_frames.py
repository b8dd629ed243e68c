"""The load generator's WebSocket frames, against an implementation of somebody else's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from benchmarks.dispatching import frames

TEXTS = st.lists(st.sampled_from(["", "a", "b" * 125, "c" * 126, "d" * 65_535, "e" * 65_536]), min_size=1, max_size=4)


@given(TEXTS)
def test_a_server_reads_what_it_sends(texts):
    """Every length that is written in another way, and empty ones."""
    server = Connection(ConnectionType.SERVER)
    for text in texts:
        server.receive_data(frames.text(text.encode()))

    heard = "".join(event.data for event in server.events() if isinstance(event, TextMessage))

    assert "".join(texts) == heard


@given(TEXTS, st.integers(min_value=1, max_value=70_000))
def test_it_reads_what_a_server_sends_in_whatever_pieces(texts, size):
    """Frames come out whole and in order, however the network cuts them."""
    server = Connection(ConnectionType.SERVER)
    sent = b"".join(server.send(TextMessage(data=text)) for text in texts)
    reader = frames.Reader()

    heard = [frame for start in range(0, len(sent), size) for frame in reader.feed(sent[start : start + size])]

    assert [text.encode() for text in texts] == heard


def test_a_closed_link_says_why():
    """The code and the reason."""
    sent = Connection(ConnectionType.SERVER).send(CloseConnection(code=4001, reason="no token"))

    with pytest.raises(frames.ClosedError, match="4001 no token"):
        frames.Reader().feed(sent)


@pytest.mark.parametrize("event", [Ping(), BytesMessage(data=b"x")])
def test_what_it_does_not_understand_is_refused(event):
    """A benchmark that ignored a frame would measure something else."""
    sent = Connection(ConnectionType.SERVER).send(event)

    with pytest.raises(ValueError, match="a frame of kind"):
        frames.Reader().feed(sent)
