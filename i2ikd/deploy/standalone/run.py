"""Run a delivered network with NumPy and onnxruntime alone.

python run.py --check                               compare the models with the expected output of the test vector
python run.py --input inputs.npz --output image.npy  compute images; the arrays are named as in config.json
python run.py --input image.npy --output out.npy     the same for a network with one input
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent


def load(model: str) -> Any:
    """Load a model of this folder in ONNX Runtime.

    Args:
        model: name of the file.
    """
    import onnxruntime

    return onnxruntime.InferenceSession(str(FOLDER / model), providers=["CPUExecutionProvider"])


def wrong_files() -> list[str]:
    """Return the names of files whose SHA-256 sum is not the one in SHA256SUMS."""
    lines = (FOLDER / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    return [
        name
        for name, digest in sums.items()
        if not (FOLDER / name).is_file() or hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() != digest
    ]


def check(config: dict[str, Any]) -> list[str]:
    """Return what is wrong with the folder: files that changed, and models that do not give the expected output.

    Args:
        config: content of config.json.
    """
    problems = [f"{name}: expected the content of SHA256SUMS, got another" for name in wrong_files()]
    with np.load(FOLDER / "test_vector.npz") as archive:
        vector = dict(archive)
    expected = vector.pop("expected")
    for name, model in config["models"].items():
        (output,) = load(name).run(None, vector)
        rms = float(np.sqrt(np.mean((output - expected) ** 2)))
        print(f"{name}: root mean square difference {rms:.3g}, limit {model['rms_limit']:.3g}")
        if not rms <= model["rms_limit"]:
            problems.append(f"{name}: expected a difference of at most {model['rms_limit']:.3g}, got {rms:.3g}")
    return problems


def read_inputs(path: Path, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Read the inputs of the network as float32.

    Args:
        path: an .npz file with one array for each input, or an .npy file for a network with one input.
        config: content of config.json.
    """
    shapes = config["inputs"]
    loaded = np.load(path)
    arrays = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {next(iter(shapes)): loaded}
    if set(arrays) != set(shapes):
        sys.exit(f"{path}: expected the arrays {', '.join(shapes)}, got {', '.join(arrays)}")
    for name, shape in shapes.items():
        fits = arrays[name].ndim == len(shape) and all(
            isinstance(wanted, str) or wanted == got for wanted, got in zip(shape, arrays[name].shape)
        )
        if not fits or np.iscomplexobj(arrays[name]):
            sys.exit(f"{path}: {name}: expected real values {shape}, got {arrays[name].dtype} {arrays[name].shape}")
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare sums and outputs with the expected ones")
    parser.add_argument("--input", type=Path, help=".npz file with the inputs, or .npy")
    parser.add_argument("--output", type=Path, help=".npy file to write, [batch, channels, height, width]")
    parser.add_argument("--model", default="model.onnx", help="model.onnx or model.int8.onnx")
    arguments = parser.parse_args()
    config = json.loads((FOLDER / "config.json").read_text("utf-8"))
    if arguments.check:
        problems = check(config)
        if problems:
            sys.exit("\n".join(problems))
        print("passed")
        return
    if arguments.input is None or arguments.output is None:
        parser.error("expected --check, or --input and --output")
    if arguments.model not in config["models"]:
        parser.error(f"--model: expected one of {', '.join(config['models'])}, got {arguments.model}")
    (image,) = load(arguments.model).run(None, read_inputs(arguments.input, config))
    np.save(arguments.output, image)


if __name__ == "__main__":
    main()
