"""The plugin ``inference``: reads handwritten digits with a small network, through onnxruntime.

The model is trained by tools/train_digits.py and lies beside this file, as does the block of digits that was held out
of its training (DATA.md says where they come from).  A job brings its own digits, or asks for the held-out ones and is
told how many were read right.  onnxruntime and numpy are imported inside ``execute``: they start threads, and a process
that has threads cannot be forked into a sandbox.  Needs the extra ``edgeagent[inference]``.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from edgeagent.plugins.base import BaseWorkerPlugin, RejectJob, WorkerResult, current_job
from edgeagent.plugins.fields import only, shown, whole_number

MODEL = Path(__file__).with_name("digits.onnx")
TEST_SET = Path(__file__).with_name("digits-test.npz")
TEST_SET_NAME = "digits-test"
TEST_SET_COUNT = 450
#: Most digits in one payload; their answers then stay well under the size that a result's value may have.
MAX_SAMPLES = 1000
#: Digits per call of the model, and per step of progress.
BATCH = 32
#: Rows and columns of a digit, and the value of a full pixel.
SIDE = 8
FULL = 16


class InferencePlugin(BaseWorkerPlugin):
    """Reads the digits in ``samples``, or the first ``count`` of ``dataset``."""

    job_type = "inference"
    benchmark: ClassVar[Mapping[str, Any] | None] = {"dataset": TEST_SET_NAME}

    async def execute(self, job_id: uuid.UUID, payload: dict[str, Any]) -> WorkerResult:
        """Return predictions and probabilities, latencies, and for the data set also labels and accuracy."""
        only(payload, ("samples", "dataset", "count"))
        if "samples" in payload:
            if len(payload) > 1:
                raise RejectJob("give either samples, or dataset and count, not both")
            return WorkerResult(success=True, value=_read(check_samples(payload["samples"]), None))
        if payload.get("dataset", TEST_SET_NAME) != TEST_SET_NAME:
            raise RejectJob(f"dataset is {TEST_SET_NAME!r}, the only one here, not {shown(payload['dataset'])}")
        count = whole_number(payload, "count", default=TEST_SET_COUNT, lowest=1, highest=TEST_SET_COUNT)
        images, labels = load_test_set()
        return WorkerResult(success=True, value=_read(images[:count], labels[:count]))

    @classmethod
    def unavailable(cls) -> str | None:
        """Return a reason where onnxruntime is not installed."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed; type: pip install 'edgeagent[inference]'"
        return None


def check_samples(samples: Any) -> list[list[list[float]]]:
    """Return the digits of a payload.

    Raises:
        RejectJob: not a list of 1 to ``MAX_SAMPLES`` grids of ``SIDE`` x ``SIDE`` numbers from 0 to ``FULL``.
    """
    if not isinstance(samples, list) or not 1 <= len(samples) <= MAX_SAMPLES:
        what = f"a list of {len(samples):,}" if isinstance(samples, list) else shown(samples)
        raise RejectJob(f"samples is a list of 1 to {MAX_SAMPLES:,} digits, not {what}")
    for number, sample in enumerate(samples):
        if not _is_grid(sample):
            raise RejectJob(f"samples[{number}] is not {SIDE} rows of {SIDE} numbers from 0 (blank) to {FULL} (ink)")
    return samples


def _is_grid(sample: Any) -> bool:
    rows_fit = isinstance(sample, list) and len(sample) == SIDE
    return rows_fit and all(
        isinstance(row, list) and len(row) == SIDE and all(type(x) in (int, float) and 0 <= x <= FULL for x in row)
        for row in sample
    )


def load_test_set() -> tuple[list[Any], list[int]]:
    """Return the held-out digits, as grids, and what they show."""
    import numpy as np

    with np.load(TEST_SET) as archive:
        return archive["images"].tolist(), archive["labels"].tolist()


def _read(images: list[Any], labels: list[int] | None) -> dict[str, Any]:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # a job may have few processes, and this is small
    session = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    probabilities: list[list[float]] = []
    latencies_ms: list[float] = []
    for first in range(0, len(images), BATCH):
        pixels = np.array(images[first : first + BATCH], np.float32)
        started = time.perf_counter()
        (answer,) = session.run(["probabilities"], {"pixels": pixels})
        latencies_ms.append((time.perf_counter() - started) * 1000)
        probabilities += np.asarray(answer, np.float64).round(4).tolist()
        current_job().progress(len(probabilities) / len(images), f"{len(probabilities)} of {len(images)} digits read")
    predictions = [max(range(10), key=row.__getitem__) for row in probabilities]
    value: dict[str, Any] = {
        "model": MODEL.name,
        "count": len(images),
        "predictions": predictions,
        "probabilities": probabilities,
        "batch": BATCH,
        "latency_ms": {"median": round(statistics.median(latencies_ms), 3), "longest": round(max(latencies_ms), 3)},
    }
    if labels is not None:
        right = sum(guess == truth for guess, truth in zip(predictions, labels, strict=True))
        value |= {"dataset": TEST_SET_NAME, "labels": labels, "right": right, "accuracy": round(right / len(labels), 4)}
    return value
