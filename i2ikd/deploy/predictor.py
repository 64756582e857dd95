"""Delivered networks in Python: NumPy arrays in and out, or a torch module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.files import read_json
from i2ikd.zoo import located


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle written by ``i2ikd export --bundle``.

    Args:
        folder: any path.
    """
    return (folder / "config.json").is_file() and (folder / "model.onnx").is_file()


class Predictor:
    """A model of a bundle in ONNX Runtime, called with arrays by name of the input.

    It needs neither data nor the plugin of the network, and executes nothing of the bundle but the ONNX graph.

    Args:
        folder: the bundle, or ``zoo:NAME``.
        model: ``model.onnx`` or ``model.int8.onnx``.
        threads: CPU threads; ``None``: those that torch uses.

    Raises:
        UserError: onnxruntime is missing, or the folder is no bundle.
    """

    def __init__(self, folder: str | Path, model: str = "model.onnx", threads: int | None = None) -> None:
        path = located(folder) / model
        if not path.is_file():
            raise UserError(f"{folder}: expected a bundle with {model}; write one with i2ikd export RUN --bundle DIR")
        try:
            import onnxruntime
        except ImportError:
            raise UserError('a bundle needs onnxruntime, which is not installed: pip install "i2ikd[onnx]"') from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UserError(f"onnxruntime cannot load {path}: {' '.join(str(error).split())[:200]}") from None
        self.inputs: Mapping[str, Sequence[int | str]] = {one.name: one.shape for one in self._session.get_inputs()}

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        """Compute images.

        Args:
            inputs: real arrays by the names of ``inputs``, whose shapes it states.

        Returns:
            Images [B, C, H, W], float32.

        Raises:
            UserError: an input is missing, unknown, complex, or of another shape.
        """
        if set(inputs) != set(self.inputs):
            raise UserError(f"expected the inputs {', '.join(self.inputs)}, got {', '.join(inputs) or 'none'}")
        arrays: dict[str, np.ndarray] = {}
        for name, wanted in self.inputs.items():
            array = np.asarray(inputs[name])
            fits = array.ndim == len(wanted) and all(
                isinstance(length, str) or length == size for length, size in zip(wanted, array.shape)
            )
            if not fits or np.iscomplexobj(array):
                raise UserError(f"{name}: expected real values {list(wanted)}, got {array.dtype} {list(array.shape)}")
            arrays[name] = np.ascontiguousarray(array, np.float32)
        output: Any = self._session.run(None, arrays)[0]
        return np.asarray(output)


class DeliveredNetwork(nn.Module):
    """A bundle as a torch module on the CPU without parameters, called as ``network(input, **conditions)``.

    Args:
        predictor: the model.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self._predictor = predictor

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        """Return the image [B, C, H, W]; conditions that the model does not have are ignored."""
        tensors = {"input": input, **conditions}
        missing = [name for name in self._predictor.inputs if name not in tensors]
        if missing:
            raise UserError(f"the delivered model needs the input {missing[0]!r}, got {', '.join(tensors)}")
        arrays = {name: tensors[name].detach().cpu().numpy() for name in self._predictor.inputs}
        return torch.from_numpy(self._predictor(**arrays))


def load_bundle(folder: Path, model: str = "model.onnx") -> DeliveredNetwork:
    """Load a model of a bundle as a torch module, in eval mode.

    Args:
        folder: the bundle.
        model: ``model.onnx`` or ``model.int8.onnx``.

    Raises:
        UserError: see ``Predictor``.
    """
    return DeliveredNetwork(Predictor(folder, model)).eval()


def bundle_config(folder: Path) -> dict[str, Any]:
    """Return the content of ``config.json`` of a bundle.

    Args:
        folder: the bundle.

    Raises:
        UserError: the file is missing or damaged, or of a later version.
    """
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("format") != 1:
        raise UserError(f"{folder / 'config.json'}: expected a bundle of format 1; update i2ikd, or export again")
    return config
