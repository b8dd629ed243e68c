"""The receipts' tree: RFC 9162's hashes and proofs, and nothing but the truth passes for one."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.wire import merkle

VECTORS = json.loads((Path(__file__).parent / "vectors" / "merkle.json").read_text())
EIGHT = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
MOST = 40


def textbook_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root as section 2.1.1 of the RFC defines it, by recursion over the data."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return hashlib.sha256(b"\1" + textbook_root(leaves[:middle]) + textbook_root(leaves[middle:])).digest()


def data(count: int) -> list[bytes]:
    """Return that many different leaves."""
    return [b"receipt %d" % number for number in range(count)]


def stored(count: int) -> merkle.Read:
    """Return how to read the hashes of a tree with that many leaves."""
    leaves = [merkle.leaf_hash(one) for one in data(count)]
    return merkle.over(leaves)


READ = stored(MOST)
ROOTS = [merkle.root(READ, size) for size in range(MOST + 1)]


def test_roots_are_those_that_other_implementations_compute() -> None:
    """The published vectors: leaves in hex, and the root after each."""
    read = merkle.over(EIGHT)

    assert [merkle.root(read, size).hex() for size in range(9)] == VECTORS["roots"]


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=lambda v: f"{v['index']}-of-{v['size']}")
def test_inclusion_proofs_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    """The proof for a leaf has these hashes in this order."""
    read = merkle.over(EIGHT)

    assert [one.hex() for one in merkle.inclusion(read, vector["index"], vector["size"])] == vector["proof"]


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=lambda v: f"{v['first']}-to-{v['second']}")
def test_consistency_proofs_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    """The proof between two sizes has these hashes in this order."""
    read = merkle.over(EIGHT)

    assert [one.hex() for one in merkle.consistency(read, vector["first"], vector["second"])] == vector["proof"]


def test_a_root_is_what_the_definition_says() -> None:
    """For every size, look-ups of complete subtrees and the recursive definition give the same root."""
    assert [textbook_root(data(size)) for size in range(MOST + 1)] == ROOTS


def test_a_tree_that_grows_has_the_same_root_at_every_size() -> None:
    """What is kept of it is enough, leaf by leaf."""
    grown = merkle.Frontier()
    roots = [grown.root]
    for leaf in data(MOST):
        grown.add(merkle.leaf_hash(leaf))
        roots.append(grown.root)

    assert roots == ROOTS
    assert grown.size == MOST


def test_every_leaf_is_proved_in_every_tree() -> None:
    """All leaves of all trees up to 40 leaves; no leaf is proved at another place, nor another leaf at its own."""
    for size in range(1, MOST + 1):
        for index in range(size):
            proof = merkle.inclusion(READ, index, size)
            leaf = READ((0, index))
            assert merkle.includes(leaf, index, size, proof, ROOTS[size])
            assert not merkle.includes(leaf, index ^ 1, size, proof, ROOTS[size])
            assert not merkle.includes(merkle.leaf_hash(b"forged"), index, size, proof, ROOTS[size])
            assert not merkle.includes(leaf, index, size, [*proof, leaf], ROOTS[size])
            assert not merkle.includes(leaf, index, size, proof, ROOTS[size - 1])


def test_every_tree_follows_every_smaller_one() -> None:
    """All pairs of sizes up to 40; a changed root or proof shows nothing."""
    for first, second in itertools.combinations_with_replacement(range(1, MOST + 1), 2):
        proof = merkle.consistency(READ, first, second)
        assert merkle.follows(first, ROOTS[first], second, ROOTS[second], proof)
        assert not merkle.follows(first, merkle.leaf_hash(b"forged"), second, ROOTS[second], proof)
        assert not merkle.follows(first, ROOTS[first], second, merkle.leaf_hash(b"forged"), proof)
        assert not merkle.follows(first, ROOTS[first], second, ROOTS[second], [*proof, ROOTS[first]])
        for at in range(len(proof)):
            tampered = [*proof[:at], merkle.leaf_hash(proof[at]), *proof[at + 1 :]]
            assert not merkle.follows(first, ROOTS[first], second, ROOTS[second], tampered)


@given(st.integers(2, MOST), st.data())
def test_a_rewritten_past_has_no_proof(size: int, draw: st.DataObject) -> None:
    """A tree in which one of the first leaves was replaced cannot be shown to follow the one that was published."""
    first = draw.draw(st.integers(1, size - 1))
    changed = draw.draw(st.integers(0, first - 1))
    leaves = [merkle.leaf_hash(one) for one in data(size)]
    leaves[changed] = merkle.leaf_hash(b"another receipt")
    read = merkle.over(leaves)

    proof = merkle.consistency(read, first, size)

    assert not merkle.follows(first, ROOTS[first], size, merkle.root(read, size), proof)


def test_the_empty_tree_comes_before_all() -> None:
    """Every tree follows the empty one, which has the hash of nothing for its root."""
    assert merkle.follows(0, merkle.EMPTY_ROOT, 3, ROOTS[3], [])
    assert not merkle.follows(0, ROOTS[1], 3, ROOTS[3], [])
    assert not merkle.follows(0, merkle.EMPTY_ROOT, 3, ROOTS[3], [ROOTS[1]])
    assert not merkle.includes(ROOTS[1], 0, 0, [], merkle.EMPTY_ROOT)


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_proof_for_what_is_not_there(index: int) -> None:
    """Asking for a leaf beyond the tree is the caller's fault."""
    with pytest.raises(ValueError, match="3 leaves has no leaf"):
        merkle.inclusion(READ, index, 3)


@pytest.mark.parametrize("first", [0, 4])
def test_there_is_no_proof_between_sizes_that_do_not_follow(first: int) -> None:
    """Neither from nothing nor backwards."""
    with pytest.raises(ValueError, match="does not follow"):
        merkle.consistency(READ, first, 3)
