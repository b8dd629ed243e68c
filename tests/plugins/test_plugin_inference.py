"""Reading digits: right where the labels say so, and the same as the same weights give in plain numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plugin_jobs import run_job

from edgeagent.plugins.base import RejectJob
from edgeagent.plugins.inference import MODEL, TEST_SET, TEST_SET_COUNT, check_samples

np = pytest.importorskip("numpy")
pytest.importorskip("onnxruntime")

BLANK = [[0] * 8] * 8
#: Fields of the protobuf messages in an .onnx file: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_DIMS, TENSOR_NAME, TENSOR_RAW = 7, 5, 1, 8, 9


def fields(data: bytes) -> list[tuple[int, Any]]:
    """Return the numbered fields of one protobuf message: whole numbers, or bytes."""
    found: list[tuple[int, Any]] = []
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = number()
        value: Any = number()
        if tag & 7 == 2:
            at, value = at + value, data[at : at + value]
        else:
            assert tag & 7 == 0
        found.append((tag >> 3, value))
    return found


def weights() -> dict[str, Any]:
    """Return the model's arrays by name, read without any ONNX library."""
    (graph,) = [value for field, value in fields(MODEL.read_bytes()) if field == MODEL_GRAPH]
    arrays = {}
    for field, value in fields(graph):
        if field == GRAPH_INITIALIZER:
            tensor = fields(value)
            parts = dict(tensor)
            name = parts[TENSOR_NAME].decode()
            if name.startswith(("weight", "bias")):
                shape = _dims([item for number, item in tensor if number == TENSOR_DIMS])
                arrays[name] = np.frombuffer(parts[TENSOR_RAW], "<f4").reshape(shape)
    return arrays


def _dims(items: list[Any]) -> list[int]:
    """Return a shape, which protobuf writes packed or one by one."""
    return [number for item in items for number in ([item] if isinstance(item, int) else _packed(item))]


def _packed(data: bytes) -> list[int]:
    # Each number as a field of its own, so that one reader does.
    found, start = [], 0
    for at, byte in enumerate(data):
        if byte < 0x80:
            found.append(fields(b"\x08" + data[start : at + 1])[0][1])
            start = at + 1
    return found


def forward(images: Any) -> Any:
    """Return the probabilities, in numpy."""
    arrays = weights()
    layer = images.reshape(-1, 64).astype(np.float64) / 16
    count = len(arrays) // 2
    for number in range(count):
        layer = layer @ arrays[f"weight{number}"] + arrays[f"bias{number}"]
        if number < count - 1:
            layer = np.maximum(layer, 0)
    scores = np.exp(layer - layer.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)


def test_the_held_out_digits_are_read(tmp_path: Path) -> None:
    """At least nine in ten right, by hands the model has not seen; the count of right ones is honest."""
    ran = run_job(tmp_path, "inference", {"dataset": "digits-test"})
    value = ran.done.value

    with np.load(TEST_SET) as archive:
        labels = archive["labels"].tolist()
    right = sum(a == b for a, b in zip(value["predictions"], labels, strict=True))
    assert TEST_SET_COUNT == value["count"] == len(labels)
    assert labels == value["labels"]
    assert right == value["right"]
    assert 0.93 < right / 450 == pytest.approx(value["accuracy"], abs=1e-4)
    assert (1.0, "450 of 450 digits read") == (ran.progress[-1].fraction, ran.progress[-1].text)
    assert 0 < value["latency_ms"]["median"] <= value["latency_ms"]["longest"]
    assert "" == ran.printed


def test_the_answers_are_those_of_the_weights(tmp_path: Path) -> None:
    """The same network in plain numpy gives the same probabilities."""
    with np.load(TEST_SET) as archive:
        expected = forward(archive["images"])

    value = run_job(tmp_path, "inference", {}).done.value

    assert np.abs(np.array(value["probabilities"]) - expected).max() < 1e-3
    assert expected.argmax(1).tolist() == value["predictions"]


def test_a_jobs_own_digits_are_read(tmp_path: Path) -> None:
    """A hand-drawn one and a half-bright zero; no labels, so no accuracy."""
    one = [[0, 0, 0, 10, 16, 0, 0, 0]] * 8
    with np.load(TEST_SET) as archive:
        zero = archive["images"][archive["labels"] == 0][0].tolist()

    value = run_job(tmp_path, "inference", {"samples": [zero, one]}).done.value

    assert 0 == value["predictions"][0]
    assert 2 == value["count"]
    assert [pytest.approx(1, abs=0.001)] * 2 == [sum(row) for row in value["probabilities"]]
    assert not {"labels", "accuracy"} & set(value)


def test_part_of_the_set_is_its_first_part(tmp_path: Path) -> None:
    """``count`` digits from the start."""
    value = run_job(tmp_path, "inference", {"count": 33}).done.value

    assert 33 == value["count"] == len(value["predictions"]) == len(value["labels"]) == len(value["probabilities"])


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"dataset": "mnist"}, "dataset is 'digits-test', the only one here, not 'mnist'"),
        ({"dataset": None}, "dataset is 'digits-test', the only one here, not None"),
        ({"count": 451}, "count is a whole number from 1 to 450, not 451"),
        ({"samples": [BLANK], "count": 1}, "give either samples, or dataset and count, not both"),
        ({"model": "x"}, "unknown field 'model'; this job takes: samples, dataset, count"),
        ({"samples": []}, "samples is a list of 1 to 1,000 digits, not a list of 0"),
    ],
)
def test_a_bad_payload_is_refused_for_good(tmp_path: Path, payload: dict[str, Any], error: str) -> None:
    """One line that says what would be right."""
    done = run_job(tmp_path, "inference", payload).done

    assert (False, error, False) == (done.success, done.error, done.retryable)


@pytest.mark.parametrize(
    "sample",
    [
        None,
        5,
        [],
        [0] * 64,
        [[0] * 8] * 7,
        [[0] * 8] * 7 + [[0] * 9],
        [[0] * 8] * 7 + [[0] * 7 + [17]],
        [[0] * 8] * 7 + [[0] * 7 + [-1]],
        [[0] * 8] * 7 + [[0] * 7 + [True]],
        [[0] * 8] * 7 + [[0] * 7 + ["1"]],
        [[0] * 8] * 7 + [[0] * 7 + [float("nan")]],
        [[0] * 8] * 7 + [None],
    ],
)
def test_a_digit_of_the_wrong_shape_or_value_is_named(sample: Any) -> None:
    """Which one it is, and what a digit looks like."""
    with pytest.raises(RejectJob, match=r"^samples\[1\] is not 8 rows of 8 numbers from 0 \(blank\) to 16 \(ink\)$"):
        check_samples([BLANK, sample])


@pytest.mark.parametrize("samples", [{}, "0", None, [BLANK] * 1001])
def test_samples_are_a_list_of_at_most_a_thousand(samples: Any) -> None:
    """More than that is another job."""
    with pytest.raises(RejectJob, match=r"^samples is a list of 1 to 1,000 digits, not "):
        check_samples(samples)
