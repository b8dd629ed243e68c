"""The demo's four jobs, and what has to come out of each for it to count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

Json = dict[str, Any]


@attrs.frozen(kw_only=True)
class DemoJob:
    """A job to submit, and the check of its result: a complaint, or None when it is right."""

    job_type: str
    payload: Json
    check: Callable[[Json], str | None]


def _same_payload(result: Json) -> str | None:
    return None if result["value"] == _ECHO else f"echo gave back {result['value']!r}"


def _primes(result: Json) -> str | None:
    # pi(2,000,000), as any table of the prime-counting function has it.
    found = result["value"]["primes_found"]
    return None if found == 148_933 else f"{found} primes below 2,000,000, there are 148,933"


def _image(result: Json) -> str | None:
    return None if any(one["name"].endswith(".png") for one in result["outputs"]) else "no image was delivered"


def _labels(result: Json) -> str | None:
    accuracy = result["value"]["accuracy"]
    return None if accuracy >= 0.9 else f"only {accuracy:.0%} of the labels were right"


_ECHO: Json = {"message": "hello from the demo"}

JOBS = (
    DemoJob(job_type="echo", payload=_ECHO, check=_same_payload),
    DemoJob(job_type="cpu_benchmark", payload={"limit": 2_000_000}, check=_primes),
    DemoJob(job_type="render", payload={}, check=_image),
    DemoJob(job_type="inference", payload={"dataset": "digits-test"}, check=_labels),
)
