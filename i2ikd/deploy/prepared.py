"""Preparation of a task in a bundle: its program, options and arrays, compared with what the task does."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from i2ikd.errors import UserError
from i2ikd.export_form import ExportForm
from i2ikd.files import write_atomically
from i2ikd.preparation import Preparation
from i2ikd.sample import Batch
from i2ikd.task import Task

PROGRAM, ARRAYS = "preparation.py", "preparation.npz"
_TOLERANCE = 1e-4
"""Of inputs in 0..1: rounding of Fourier transforms in float32."""


def write_preparation(task: Task, form: ExportForm, size: tuple[int, int], folder: Path) -> Preparation | None:
    """Write the preparation of a task to a bundle.

    Args:
        task: of the network.
        form: of the network, with the inputs that the preparation has to compute.
        size: (H, W) of the slices that are compared.
        folder: the bundle.

    Returns:
        The preparation; ``None``: the task has none, or not for the inputs of the network.

    Raises:
        UserError: the preparation computes other inputs than the task.
    """
    preparation = task.preparation()
    if preparation is None or not _agrees(preparation, task, form, size):
        return None
    buffer = io.BytesIO()
    arrays: Mapping[str, Any] = preparation.arrays
    np.savez_compressed(buffer, **arrays)
    write_atomically(folder / ARRAYS, buffer.getvalue())
    write_atomically(folder / PROGRAM, preparation.source())
    return preparation


def _agrees(preparation: Preparation, task: Task, form: ExportForm, size: tuple[int, int]) -> bool:
    """Compare the inputs of a random slice with those of the task; return whether all are computed."""
    values = np.random.default_rng(3).random((1, *size), np.float32)
    values[0, : size[0] // 4] = 0  # a slice with a background
    module = preparation.load()
    options = {**preparation.options, "kspace": False, "simulate": False}
    try:
        scale = np.float32(module.scale_of(values, options))
        found = module.network_inputs(values[0] / scale, options, preparation.arrays)
    except ValueError:  # it needs an array of the user, such as a mask that differs between slices
        return True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.npy"
        np.save(path, values)
        batch = Batch.collate([task.sample_from_file(path)[0]])
        expected = {name: tensor.numpy() for name, tensor in form.inputs(batch).items()}
    if not expected.keys() <= found.keys():
        return False
    for name, wanted in expected.items():
        got = found[name][None]
        if got.shape != wanted.shape or not np.allclose(got, wanted, atol=_TOLERANCE):
            raise UserError(
                f"{preparation.module}: expected the input {name!r} that {type(task).__name__}.sample_from_file "
                f"computes, got another; correct one of the two, or return None in {type(task).__name__}.preparation"
            )
    return True
