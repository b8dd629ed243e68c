"""Is this public key a point that Ed25519 signatures can be trusted with?

OpenSSL takes any 32 bytes for a public key.  Two kinds of them are dangerous: encodings that are not canonical, where
one point has two texts, and points of small order, for which anybody can make signatures that fit (RFC 8032, section
5.1.3; "Taming the many EdDSAs", 2020).  Pure integer arithmetic: keys are public, so time may depend on them.
"""

from __future__ import annotations

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_1 = pow(2, (_P - 1) // 4, _P)
#: Doublings that take every point of small order to the neutral one: the curve's cofactor is 8.
_COFACTOR_DOUBLINGS = 3

_Point = tuple[int, int, int]  # projective: X/Z, Y/Z


def unusable(encoded: bytes) -> str | None:
    """Return why these 32 bytes are no key to trust, or None when they are one."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _P:
        return "its encoding is not canonical"
    x = _x(y, sign)
    if x is None:
        return "it is not a point of the curve"
    point: _Point = (x, y, 1)
    for _ in range(_COFACTOR_DOUBLINGS):
        point = _double(point)
    if point[0] == 0 and point[1] == point[2]:
        return "it is a point of small order"
    return None


def _x(y: int, sign: int) -> int | None:
    """Return the x of the point with this y, whose lowest bit is ``sign``; None if there is none."""
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * _SQRT_MINUS_1 % _P
    if v * x * x % _P != u or (x == 0 and sign):
        return None
    return x if x & 1 == sign else _P - x


def _double(point: _Point) -> _Point:
    # "dbl-2008-bbjlp" of the Explicit-Formulas Database, with a = -1.
    x, y, z = point
    b, c, d = (x + y) ** 2 % _P, x * x % _P, y * y % _P
    e = -c % _P
    f = (e + d) % _P
    j = (f - 2 * z * z) % _P
    return (b - c - d) * j % _P, f * (e - d) % _P, f * j % _P
