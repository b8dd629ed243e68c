"""The gateway's memory: SQLAlchemy Core over SQLite or PostgreSQL, one writer that commits many requests together.

``base`` runs requests, ``tables`` says what is stored; the other modules are the requests themselves: plain functions
of a ``Tx``, each atomic, which the rest of the gateway hands to ``Store.write`` and ``Store.read``.  Statements that
run often are built once, at import: building one costs SQLAlchemy four times what running it does.
"""

from edgeagent.gateway.store import payout_tables as _payout_tables  # noqa: F401 -- part of what is stored
from edgeagent.gateway.store import trust_tables as _trust_tables  # noqa: F401 -- part of what is stored
from edgeagent.gateway.store.base import Store
from edgeagent.gateway.store.faults import StoreUnavailableError
from edgeagent.gateway.store.writer import Tx

__all__ = ["Store", "StoreUnavailableError", "Tx"]
