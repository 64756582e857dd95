"""Fixtures of the tests of readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from i2ikd import Reader, UserError


@pytest.fixture
def message() -> Callable[..., str]:
    """Message, of one line that names the file, with which a reader refuses a file."""

    def refused(reader: Reader, path: Path, index: int = 0) -> str:
        with pytest.raises(UserError) as caught:
            volume = reader(path)
            len(volume)
            volume[index]
        text = str(caught.value)
        assert "\n" not in text
        assert path.name in text
        return text

    return refused


@pytest.fixture
def write_hdf5() -> Callable[..., Path]:
    """Write datasets by name to a file, and return its path."""

    def write(path: Path, **datasets: np.ndarray) -> Path:
        with h5py.File(path, "w") as file:
            for name, values in datasets.items():
                file.create_dataset(name, data=values)
        return path

    return write
