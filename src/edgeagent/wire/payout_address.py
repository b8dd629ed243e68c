"""Where an operator wants to be paid: what may stand there, how it is shown, and what the node signs to set it.

The text is for whatever carries the payments out: an account number, an e-mail address, a wallet.  Neither node nor
gateway understands it.  Pure.
"""

from __future__ import annotations

#: Longest address, in characters.
MAX_CHARS = 200
_SHOWN = 4


def check(text: str) -> str:
    """Return an address without the space around it.

    Raises:
        ValueError: it is empty, too long, or more than one printable line; says which.
    """
    address = text.strip()
    if not address:
        raise ValueError("a payout address has at least one character")
    if len(address) > MAX_CHARS:
        raise ValueError(f"a payout address has at most {MAX_CHARS} characters; this one has {len(address)}")
    if not address.isprintable():
        raise ValueError("a payout address is one line of printable characters")
    return address


def masked(address: str) -> str:
    """Return an address as others than its owner may see it: its ends, or of a short one nothing but its length."""
    if len(address) < 4 * _SHOWN:
        return "*" * len(address)
    return f"{address[:_SHOWN]}…{address[-_SHOWN:]}"


def proof(node_id: str, challenge: str, address: str) -> bytes:
    """Return the bytes that a node's key signs to set its address; an empty one takes it away.

    The challenge is good once, so the signature is: an earlier address cannot be set again by whoever has seen one.
    """
    return b"edgeagent/payout-address/1\n" + f"{node_id}\n{challenge}\n{address}".encode()
