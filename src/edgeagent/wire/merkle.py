"""The tree over a month's receipts: its root, and proofs that it holds one and was only ever added to.

Hashing and proofs are those of Certificate Transparency (RFC 9162, section 2.1), so that anybody's code can check them.
A tree is not kept as an object: roots and proofs are made of the hashes of complete subtrees, each named by level and
index (level 0 are the leaves) and never changed once it is complete.  A root or a proof takes a few dozen of them,
whatever the size.  Pure; ``gateway.store.settlements`` keeps the hashes, ``node.receipts`` checks proofs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

#: A complete subtree: (level, index) has the 2**level leaves from index * 2**level.
Place: TypeAlias = tuple[int, int]
#: Returns the hash of a complete subtree.
Read: TypeAlias = Callable[[Place], bytes]

#: The root of a tree without leaves: the hash of nothing.
EMPTY_ROOT = hashlib.sha256().digest()
HASH_BYTES = 32


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf; the prefix keeps leaves and nodes apart."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node with these two children."""
    return hashlib.sha256(b"\1" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the hash of the complete subtree over these hashes, of which there is a power of two, at one level."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def over(leaves: Sequence[bytes]) -> Read:
    """Return how to read the subtrees of a tree whose leaf hashes are all in memory."""
    return lambda place: fold(leaves[place[1] << place[0] : (place[1] + 1) << place[0]])


class Frontier:
    """A tree that grows, of which only what its root needs is kept: a hash for each bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._complete: list[bytes] = []  # subtrees, the largest first

    def add(self, leaf: bytes) -> None:
        """Add a leaf's hash."""
        found, ones = leaf, self.size
        while ones & 1:  # it completes the subtree of which the last one is the left half
            found, ones = node_hash(self._complete.pop(), found), ones >> 1
        self._complete.append(found)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root of the tree so far."""
        if not self._complete:
            return EMPTY_ROOT
        found = self._complete[-1]
        for left in reversed(self._complete[:-1]):
            found = node_hash(left, found)
        return found


def root(read: Read, size: int) -> bytes:
    """Return the root of the tree of the first ``size`` leaves."""
    return _range(read, 0, size) if size else EMPTY_ROOT


def inclusion(read: Read, index: int, size: int) -> list[bytes]:
    """Return the proof that leaf ``index`` is in the tree of the first ``size`` leaves (section 2.1.3.1).

    Raises:
        ValueError: there is no such leaf in a tree of that size.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range(read, middle, end))
            end = middle
        else:
            proof.append(_range(read, start, middle))
            start = middle
    return proof[::-1]


def consistency(read: Read, first: int, second: int) -> list[bytes]:
    """Return the proof that the first ``first`` leaves of a tree of ``second`` were never changed (section 2.1.4.1).

    Raises:
        ValueError: the first size is not one from 1 to the second.
    """
    if not 0 < first <= second:
        raise ValueError(f"a tree of {second} leaves does not follow one of {first}")
    proof: list[bytes] = []
    start, end, left_edge = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            proof.append(_range(read, middle, end))
            end = middle
        else:
            proof.append(_range(read, start, middle))
            start, left_edge = middle, False
    if not left_edge:
        proof.append(_range(read, start, end))
    return proof[::-1]


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Return whether ``proof`` shows that leaf hash ``leaf`` is number ``index`` of the tree with this size and root.

    Section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    position, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and found == root


def follows(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether ``proof`` shows that the second tree has the first one's leaves, unchanged, at its start.

    Section 2.1.4.2; every tree follows the empty one, and itself, with an empty proof.
    """
    if first == 0:
        return first_root == EMPTY_ROOT and not proof
    if first == second:
        return first_root == second_root and not proof
    if not 0 < first < second or not proof:
        return False
    hashes = list(proof) if first & (first - 1) else [first_root, *proof]
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _range(read: Read, start: int, end: int) -> bytes:
    """Return the hash of the subtree over leaves ``start`` to ``end``, as the recursion of section 2.1.1 meets it."""
    length = end - start
    if length & (length - 1) == 0:
        level = length.bit_length() - 1
        return read((level, start >> level))
    middle = start + _split(length)
    return node_hash(_range(read, start, middle), _range(read, middle, end))


def _split(length: int) -> int:
    """Return the largest power of two below ``length``."""
    return 1 << ((length - 1).bit_length() - 1)
