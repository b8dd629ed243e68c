"""What a job shows of itself, bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.node.reporter import Reporter


def test_nothing_new_is_nothing_to_say() -> None:
    """An idle job costs no messages."""
    reporter = Reporter("a")
    assert reporter.take() is None
    reporter.progress(0.5, "half")

    first = reporter.take()

    assert first is not None
    assert (0.5, "half") == (first.fraction, first.text)
    assert reporter.take() is None


def test_progress_stays_with_later_lines() -> None:
    """A message with log lines alone would otherwise set the bar back."""
    reporter = Reporter("a")
    reporter.progress(0.5, "half")
    reporter.take()

    reporter.output(b"line\n")

    message = reporter.take()
    assert message is not None
    assert (0.5, "half", ("line",)) == (message.fraction, message.text, message.log)


def test_the_last_hundred_lines_are_kept_and_the_others_counted() -> None:
    """One of the hundred says how many are missing."""
    reporter = Reporter("a")
    reporter.output(b"".join(b"%d\n" % number for number in range(1000)))

    message = reporter.take()

    assert message is not None
    assert 100 == len(message.log)
    assert ("... 901 lines left out ...", "901", "999") == (message.log[0], message.log[1], message.log[-1])


def test_a_line_without_end_is_cut() -> None:
    """A megabyte without a newline takes a kilobyte here."""
    reporter = Reporter("a")
    for _ in range(1000):
        reporter.output(b"x" * 1000)
    reporter.output(b"\nnext")
    reporter.output(b"", final=True)

    message = reporter.take()

    assert message is not None
    assert ("x" * 1000, "next") == message.log


def test_a_final_line_that_had_no_newline_is_kept() -> None:
    """Often the most interesting one: the program died there."""
    reporter = Reporter("a")
    reporter.output("schön".encode()[:4])
    assert reporter.take() is None

    reporter.output(b"", final=True)

    message = reporter.take()
    assert message is not None
    assert ("sch\N{REPLACEMENT CHARACTER}",) == message.log


@given(st.lists(st.binary()))
def test_whatever_is_printed_becomes_printable_lines_within_bounds(pieces: list[bytes]) -> None:
    """Any bytes in any pieces."""
    reporter = Reporter("a")
    for piece in pieces:
        reporter.output(piece)
    reporter.output(b"", final=True)

    message = reporter.take()

    lines = message.log if message is not None else ()
    assert len(lines) <= 100
    assert all(line.isprintable() and 0 < len(line) <= 1000 for line in lines)
