"""A Dramatiq application with one actor that does nothing and keeps its results; Dramatiq always acknowledges late."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RedisBroker(url=os.environ["BENCH_BROKER"])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["BENCH_RESULTS"])))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def primes(limit: int, at: float) -> dict[str, int]:
    """Answer as a simulated node does."""
    return {"primes": 9592}
