"""Every target of the fuzzer, with bytes that hypothesis makes up."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from fuzz_targets import TARGETS, channel, packet
from hypothesis import given, settings
from hypothesis import strategies as st
from seeds import SEEDS

from edgeagent.plugins.channel import MAX_LINE_BYTES, ChannelError, LineDecoder

SEEDED = [(name, seed) for name, seeds in SEEDS.items() for seed in seeds]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=12,
)


@st.composite
def documents(draw: st.DrawFn, seed: bytes) -> bytes:
    """Return a good document with some of its values, however deep, exchanged for others, lost, or joined by more."""

    def change(value: Any) -> Any:
        what = draw(st.integers(0, 9))
        if what == 0:
            return draw(values)
        if isinstance(value, dict):
            changed = {key: change(each) for key, each in value.items() if what != 1 or draw(st.booleans())}
            return changed | (draw(st.dictionaries(st.text(max_size=8), values, max_size=2)) if what == 2 else {})
        return [change(each) for each in value] if isinstance(value, list) else value

    return json.dumps(change(json.loads(seed))).encode()


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=500))
def test_any_bytes_are_a_value_or_the_documented_error(name: str, data: bytes) -> None:
    """Never another exception."""
    TARGETS[name](data)


@pytest.mark.parametrize(("name", "seed"), SEEDED, ids=lambda each: each if isinstance(each, str) else "")
@given(data=st.data())
def test_a_good_message_with_damage_is_a_value_or_the_documented_error(
    name: str, seed: bytes, data: st.DataObject
) -> None:
    """Cut off, with bytes exchanged, or with something put in."""
    at, until = (data.draw(st.integers(0, len(seed))) for _ in range(2))
    TARGETS[name](seed[:at] + data.draw(st.binary(max_size=20)) + seed[until:])


@pytest.mark.parametrize("name", ["report", "spec", "channel"])
@given(data=st.data())
def test_values_of_other_types_are_a_value_or_the_documented_error(name: str, data: st.DataObject) -> None:
    """In any place of a good document."""
    for seed in SEEDS[name]:
        for line in seed.splitlines():
            TARGETS[name](data.draw(documents(line)) + b"\n")


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 15_000,
        b'{"a":' * 3_000,
        b'{"limits":' * 1_500 + b"1" + b"}" * 1_500,
        b'{"x": ' + b"9" * 10_000 + b"}",
        b'{"done": {"success": true, "value": ' + b"[" * 1_000 + b"]" * 1_000 + b"}}\n",
        b"\xff\xfe{}" * 100,
        b"\0" * 10_000,
    ],
    ids=["lists", "objects", "limits", "digits", "deep value", "no text", "nulls"],
)
def test_what_breaks_decoders_is_refused(name: str, data: bytes) -> None:
    """Nesting that a recursive reader cannot follow, numbers of ten thousand digits, other encodings."""
    TARGETS[name](data)


@pytest.mark.parametrize(("name", "seed"), SEEDED, ids=lambda each: each if isinstance(each, str) else "")
def test_the_seeds_are_accepted(name: str, seed: bytes) -> None:
    """Else the fuzzer would begin with nothing but errors, and these tests see nothing else either."""
    assert TARGETS[name](seed)


def test_a_target_notices_a_wrong_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of another kind, and a descriptor that is not closed, are findings."""
    monkeypatch.setattr("edgesandbox.passing.close_all", lambda fds: None)
    with pytest.raises(AssertionError):
        packet(b"no message")
    monkeypatch.setattr(LineDecoder, "feed", lambda self, data: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        channel(b"x")


@settings(max_examples=20)
@given(piece=st.binary(min_size=1, max_size=3))
def test_an_endless_line_takes_no_more_memory_than_a_line(piece: bytes) -> None:
    """Sixteen times the longest line, without an end: refused when it is over, with nothing kept."""
    block = (piece.replace(b"\n", b"x") * 65_536)[:65_536]
    decoder = LineDecoder()
    tracemalloc.start()
    try:
        for _ in range(16 * MAX_LINE_BYTES // len(block)):
            try:
                decoder.feed(block)
            except ChannelError:
                continue
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * MAX_LINE_BYTES
