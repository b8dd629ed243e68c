# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "onnx==1.23.2", "scikit-learn==1.9.1", "scipy==1.17.1"]
# ///
"""Train the handwritten-digit model that the plugin ``inference`` ships, and cut its held-out test set.

Run as ``uv run tools/train_digits.py`` (the block above names the exact versions); it writes ``digits.onnx`` and
``digits-test.npz`` into src/edgeagent/plugins/inference.  Same versions, same seed, same processor family: same bytes.

The data is scikit-learn's ``load_digits``: 1797 grids of 8 x 8 pixels, 0 to 16, in the order in which the writers
handed in their sheets.  The last 450 are held out as one block and never seen in training, nor used to choose anything
here, so most of the test is by hands that the model does not know.  That is harder than the usual shuffled split, and
nearer to what a stranger sends.  Layer sizes and weight decay were chosen among five by cross-validation on the rest.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # sums in one order, so that the weights come out the same

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.ndimage import rotate, shift
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

SEED = 20_260
HELD_OUT = 450
HIDDEN = (128, 64)
HERE = Path(__file__).resolve().parent.parent / "src/edgeagent/plugins/inference"


def augmented(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and seven bent copies of each: moved by a pixel, or turned by 8 or 15 degrees."""
    moves = [(0, 1), (0, -1), (1, 0)]
    copies = [images, *(shift(images, (0, *move), order=0) for move in moves)]
    copies += [rotate(images, angle, axes=(1, 2), reshape=False, order=1) for angle in (-15, -8, 8, 15)]
    return np.clip(np.concatenate(copies), 0, 16), np.tile(labels, len(copies))


def to_onnx(network: MLPClassifier, note: str) -> onnx.ModelProto:
    """Return the network as ONNX: grids of raw pixels in, a probability per digit out."""
    weights = {"scale": np.float32(1 / 16), "flat": np.array([-1, 64], np.int64)}
    nodes = [
        helper.make_node("Reshape", ["pixels", "flat"], ["rows"]),
        helper.make_node("Mul", ["rows", "scale"], ["layer0"]),
    ]
    last = len(network.coefs_) - 1
    for number, (matrix, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        weights |= {f"weight{number}": matrix.astype(np.float32), f"bias{number}": bias.astype(np.float32)}
        inputs = [f"layer{number}", f"weight{number}", f"bias{number}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"sum{number}"]))
        kind, out = ("Softmax", "probabilities") if number == last else ("Relu", f"layer{number + 1}")
        nodes.append(helper.make_node(kind, [f"sum{number}"], [out]))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["count", 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["count", 10])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    # Opset 13 and IR 8 are read by every onnxruntime since 1.10.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, doc_string=note)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Train, measure on the held-out block, write both files."""
    digits = load_digits()
    train, test = digits.images[:-HELD_OUT], digits.images[-HELD_OUT:]
    labels, truth = digits.target[:-HELD_OUT], digits.target[-HELD_OUT:]
    images, targets = augmented(train, labels)
    network = MLPClassifier(HIDDEN, alpha=0.1, batch_size=64, max_iter=40, random_state=SEED, learning_rate_init=1e-3)
    network.set_params(tol=0.0, n_iter_no_change=1000)  # a fixed number of rounds: nothing decides when to stop
    network.fit(images.reshape(-1, 64) / 16, targets)
    accuracy = network.score(test.reshape(-1, 64) / 16, truth)
    note = f"tools/train_digits.py, seed {SEED}: {len(train)} in training, {accuracy:.4f} right of {HELD_OUT} held out"
    (HERE / "digits.onnx").write_bytes(to_onnx(network, note).SerializeToString(deterministic=True))
    np.savez_compressed(HERE / "digits-test.npz", images=test.astype(np.uint8), labels=truth.astype(np.uint8))
    print(note)


if __name__ == "__main__":
    main()
