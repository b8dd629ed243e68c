"""What an account's token may be used for.  Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Scope(enum.StrEnum):
    """One kind of use; none includes another."""

    READ = "read"  # the account's jobs, results and balance
    SUBMIT = "submit"  # submit, cancel and queue again the account's jobs
    ADMIN = "admin"  # what concerns the whole gateway


#: What a token may do when nothing is said.
USUAL_SCOPES = frozenset({Scope.READ, Scope.SUBMIT})


def written(scopes: Iterable[Scope]) -> str:
    """Return scopes as they are stored: ``read submit``."""
    return " ".join(sorted(scopes))


def parse(text: str) -> frozenset[Scope]:
    """Return stored scopes."""
    return frozenset(Scope(one) for one in text.split())
