"""Which public keys can be trusted: the points of small order and the odd encodings are refused, real keys are not."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.wire.curve import unusable

P = 2**255 - 19
#: The y of the four points of order 8, and of their mirror images.
ORDER_8 = (
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
)


@given(st.binary(min_size=32, max_size=32))
def test_every_real_key_is_good(seed: bytes) -> None:
    """Whatever its private half."""
    assert unusable(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()) is None


@pytest.mark.parametrize("y", [0, 1, P - 1, *(int.from_bytes(bytes.fromhex(one), "little") for one in ORDER_8)])
def test_points_of_small_order_are_refused(y: int) -> None:
    """All eight, with either sign of x where there are two."""
    signs = (0,) if y in {1, P - 1} else (0, 1)
    for sign in signs:
        assert unusable((y | sign << 255).to_bytes(32, "little")) == "it is a point of small order"


@pytest.mark.parametrize("y", [P, P + 1, 2**255 - 1])
def test_encodings_that_are_not_canonical_are_refused(y: int) -> None:
    """One point has one text."""
    assert unusable(y.to_bytes(32, "little")) == "its encoding is not canonical"


@pytest.mark.parametrize("encoded", [2, 1 | 1 << 255, (P - 1) | 1 << 255])
def test_what_is_no_point_is_refused(encoded: int) -> None:
    """A y that no point has, and a negative zero."""
    assert unusable(encoded.to_bytes(32, "little")) == "it is not a point of the curve"
