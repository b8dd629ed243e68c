"""Messages between agent, zygote and supervisor."""

from __future__ import annotations

import os

import pytest

from edgesandbox import passing


def test_a_message_brings_its_descriptors():
    """They arrive as copies, closed on exec."""
    ours, theirs = passing.pair()
    read, write = os.pipe()
    with ours, theirs:
        passing.send(ours, {"n": 1}, [write])
        message, fds = passing.receive(theirs, max_fds=1)
    os.write(fds[0], b"x")

    assert {"n": 1} == message
    assert b"x" == os.read(read, 1)
    assert not os.get_inheritable(fds[0])
    passing.close_all([read, write, *fds])


def test_last_words_arrive_from_a_peer_that_did_not_listen():
    """The kernel reports the reset first; what was sent before it is still there."""
    ours, theirs = passing.pair()
    with ours:
        passing.send(ours, {"unread": True})
        passing.send(theirs, {"last": "words"})
        theirs.close()

        assert ({"last": "words"}, []) == passing.receive(ours)
        assert (None, []) == passing.receive(ours)


def test_a_message_that_is_too_long_is_not_sent():
    """The limit is the kernel's, the complaint is ours."""
    ours, theirs = passing.pair()
    with ours, theirs, pytest.raises(OSError, match="over the 163840"):
        passing.send(ours, {"long": "x" * passing.MAX_BYTES})
