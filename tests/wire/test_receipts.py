"""Receipts, settlements and months: the bytes that are signed are always the same, and months leave nothing out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.wire import identity, receipts
from edgeagent.wire.codec import decode, encode
from edgeagent.wire.messages import JobResult, Outcome, Output, Usage

VECTORS = json.loads((Path(__file__).parent / "vectors" / "receipts.json").read_text())
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
RESULT = JobResult(
    job_id="j-1",
    attempt_id="a-1",
    outcome=Outcome.COMPLETED,
    outputs=(Output(name="bild ä.png", size_bytes=3, sha256=ABC),),
    usage=Usage(wall_s=2.5, cpu_s=1.2341, memory_peak_bytes=50 << 20),
)
RECEIPT = receipts.receipt("n-1", "render", 10_000_000, RESULT)


def keys(seed: str) -> tuple[bytes, str]:
    """Return the private and the public key of a seed, in PEM."""
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, identity.public_key_of(private)


NODE, GATEWAY = keys(VECTORS["node_seed"]), keys(VECTORS["gateway_seed"])
SETTLEMENT = receipts.Settlement(
    receipt_sha256=RECEIPT.sha256,
    node_signature=VECTORS["receipt"]["signature"],
    credited_ucr=10_000_000,
    month="2026-10",
    index=0,
    settled_at=1_791_000_000,
)
STATEMENT = receipts.Statement(
    month="2026-10",
    size=1,
    root=SETTLEMENT.leaf.hex(),
    credited_ucr=10_000_000,
    issued_at=1_793_500_000,
    closed=True,
)


@pytest.mark.parametrize(
    ("value", "vector", "signer"),
    [(RECEIPT, "receipt", NODE), (SETTLEMENT, "settlement", GATEWAY), (STATEMENT, "statement", GATEWAY)],
    ids=["receipt", "settlement", "statement"],
)
def test_what_is_signed_are_the_bytes_of_the_vectors(
    value: receipts.Receipt | receipts.Settlement | receipts.Statement, vector: str, signer: tuple[bytes, str]
) -> None:
    """Document and signature are, byte for byte, those that were made without this program."""
    document, signature = value.document(), VECTORS[vector]["signature"]

    assert document.decode() == VECTORS[vector]["document"]
    assert identity.sign(signer[0], document) == signature
    assert identity.verify(signer[1], document, signature)


def test_the_leaf_is_the_hash_of_the_settlement() -> None:
    """The month's tree is over what the gateway signed."""
    assert SETTLEMENT.leaf.hex() == VECTORS["settlement"]["leaf"]


@given(wall_s=st.floats(0, 1e9), cpu_s=st.floats(0, 1e9))
def test_both_sides_make_the_same_receipt(wall_s: float, cpu_s: float) -> None:
    """A result that went over the wire gives the bytes that the node signed before."""
    result = JobResult(job_id="j", attempt_id="a", outcome=Outcome.COMPLETED, usage=Usage(wall_s=wall_s, cpu_s=cpu_s))

    (arrived,) = decode(encode(result))

    assert isinstance(arrived, JobResult)
    assert receipts.receipt("n", "t", 1, arrived).document() == receipts.receipt("n", "t", 1, result).document()


def test_a_receipt_for_something_else_has_another_signature() -> None:
    """One signature cannot be shown for a dearer job."""
    dearer = receipts.receipt("n-1", "render", 20_000_000, RESULT)

    assert not identity.verify(NODE[1], dearer.document(), VECTORS["receipt"]["signature"])


@given(st.integers(0, 32_503_680_000 - 1))
def test_every_moment_is_in_exactly_the_month_it_is_said_to_be_in(at: int) -> None:
    """Months partition time: a moment lies within the bounds of its own month."""
    first, after = receipts.month_bounds(receipts.month_of(at))

    assert first <= at < after
    assert receipts.month_of(first - 1) != receipts.month_of(at) or first == 0
    assert receipts.month_of(after - 1) == receipts.month_of(at)


@pytest.mark.parametrize("text", ["2026-13", "2026-1", "202610", "october", "2026-10-01", "0001-01", "2026-00", ""])
def test_what_is_no_month_is_refused(text: str) -> None:
    """The line says how to write one."""
    with pytest.raises(ValueError, match="write for example 2026-10"):
        receipts.month_bounds(text)
