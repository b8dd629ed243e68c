"""A Celery application with one task that does nothing, set up so that no task is lost with its worker."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=64,  # the usual 4 would make it wait for Redis more often
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    result_expires=3600,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def primes(limit: int, at: float) -> dict[str, int]:
    """Answer as a simulated node does."""
    return {"primes": 9592}
