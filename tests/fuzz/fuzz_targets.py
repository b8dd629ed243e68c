"""What is fuzzed: everything that turns bytes of another process into values.  Each target takes any bytes.

One rule: whatever arrives becomes a value, which survives being sent again, or the error that the function documents;
a target says which of the two it was.  Any other exception is a finding.  Called by ``test_fuzz_targets`` with bytes of
hypothesis's making, in every run of the tests, and by ``python -m tests.fuzz`` under a coverage-guided fuzzer.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable

from edgeagent.plugins.channel import ChannelError, Done, LineDecoder, Progress, Start, done_line, progress_line
from edgesandbox import Report, Spec, passing
from edgesandbox.report import Ending, compose


def spec(data: bytes) -> bool:
    """The zygote reads a spec."""
    try:
        read = Spec.from_json(passing.decode(data))
    except ValueError:
        return False
    assert read == Spec.from_json(json.loads(json.dumps(read.to_json())))
    return True


def report(data: bytes) -> bool:
    """The other form of a report."""
    try:
        read = Report.from_json(passing.decode(data))
    except ValueError:
        return False
    assert repr(read) == repr(Report.from_json(read.to_json()))  # NaN is not equal to itself
    return True


def ending(data: bytes) -> bool:
    """The agent reads what a supervisor packed, and what follows it."""
    try:
        read, rest = Ending.unpack(data)
        again, left = Ending.unpack(read.pack() + rest)
        assert (repr(read), rest) == (repr(again), left)
        compose(data)
    except ValueError:
        return False
    return True


def channel(data: bytes) -> bool:
    """The agent reads what a job says, and the job what the agent says, in pieces as the first byte has it."""
    heard = 0
    for kinds in ((Progress, Done), (Start,)):
        decoder = LineDecoder(max_bytes=4096, kinds=kinds)
        step = 1 + (data[0] if data else 0)
        try:
            for at in range(0, len(data), step):
                for message in decoder.feed(data[at : at + step]):
                    heard += 1
                    _again(message)
            decoder.eof()
        except ChannelError as error:
            fault = str(error)
            if not fault.isprintable():
                raise AssertionError(ascii(fault)) from error
    return heard > 0


def _again(message: object) -> None:
    if isinstance(message, Progress):
        assert [message] == LineDecoder().feed(progress_line(message.fraction, message.text))
    elif isinstance(message, Done):
        line = done_line(
            success=message.success,
            value=message.value,
            result_ref=message.result_ref,
            error=message.error,
            retryable=message.retryable,
        )
        assert [message] == LineDecoder().feed(line)


def packet(data: bytes) -> bool:
    """A packet of any content, with a descriptor: read, or refused with the descriptor closed."""
    ours, theirs = passing.pair()
    with ours, theirs:
        before = len(os.listdir("/proc/self/fd"))
        sent = data[: passing.MAX_BYTES] or b" "
        socket.send_fds(ours, [sent], [ours.fileno()])
        try:
            message, fds = passing.receive(theirs, max_fds=1)
        except OSError:
            message, fds = None, []
        assert message is None or len(sent) <= passing.SMALL_BYTES
        passing.close_all(fds)
        assert before == len(os.listdir("/proc/self/fd"))
    return message is not None


TARGETS: dict[str, Callable[[bytes], bool]] = {each.__name__: each for each in (channel, ending, packet, report, spec)}
