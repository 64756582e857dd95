"""HDF5 files opened once a process and read slice by slice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from i2ikd import UserError
from i2ikd_mri.readers.budget import DECODED_BYTES, OPEN_FILES
from i2ikd_mri.volumes import check_numeric, checked_slice, position


class Hdf5File:
    """An HDF5 file that opens on first use and stays open; safe to pickle and to use after a fork.

    Attributes:
        opens: how often this process has opened the file through this object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opens = 0
        self._file: h5py.File | None = None
        self._process = 0

    def opened(self) -> h5py.File:
        """Return the open file.

        Raises:
            UserError: it is missing, unreadable, truncated or no HDF5 file.
        """
        if self._process != os.getpid():
            # A handle from before a fork shares its place in the file with the parent: this process opens its own.
            self.release()
            self._process, self.opens = os.getpid(), 0
        if self._file is None:
            self._file = self._open()
            self.opens += 1
        OPEN_FILES.use(self)
        return self._file

    def release(self) -> None:
        """Close the file; the next use opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def dataset(self, key: str) -> h5py.Dataset:
        """Return the dataset ``key``.

        Raises:
            UserError: there is none; the message lists those that exist.
        """
        found = self.opened().get(key)
        if not isinstance(found, h5py.Dataset):
            raise UserError(f"{self.path}: there is no dataset {key!r}; it holds {self._holdings()}")
        return found

    def _open(self) -> h5py.File:
        if not self.path.is_file():
            raise UserError(f"{self.path}: there is no such file")
        if not os.access(self.path, os.R_OK):
            raise UserError(f"{self.path}: the file may not be read; change its permissions")
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            if "truncated" in str(error):
                raise UserError(f"{self.path}: the HDF5 file is truncated; copy or download it again") from error
            if not h5py.is_hdf5(self.path):
                raise UserError(f"{self.path}: this is not an HDF5 file") from error
            reason = str(error).replace("\n", " ")
            raise UserError(f"{self.path}: the HDF5 file cannot be opened: {reason}") from error

    def _holdings(self) -> str:
        names: list[str] = []
        try:
            self.opened().visititems(lambda n, item: names.append(n) if isinstance(item, h5py.Dataset) else None)
        except (OSError, RuntimeError):
            return "nothing that can be listed; the file is damaged"
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        return ", ".join(repr(name) for name in sorted(names)[:12]) + more or "no dataset"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None, "opens": 0, "_process": 0}


class Hdf5Stack:
    """One dataset of an HDF5 file as a stack of slices.

    A slice is one read. Where a chunk spans several slices, or slices lie interleaved in a contiguous dataset whose
    last axis counts them, what was read together stays in memory, within the budget of the process, instead of being
    read again for every slice.

    Args:
        file: where it is.
        key: the dataset's name.
        axis: which of three axes counts the slices; an array of two axes is one slice.
        kinds: NumPy's letters of the types that are right (``c``: complex).
    """

    def __init__(self, file: Hdf5File, key: str, axis: int, kinds: str = "biufc") -> None:
        self.file = file
        self.key = key
        self._axis = axis
        self._kinds = kinds
        self._shape: tuple[int, ...] = ()
        self._chunk = 1
        self._decoded: tuple[int, np.ndarray] | None = None

    @property
    def where(self) -> str:
        """The file and the dataset, as a message names them."""
        return f"{self.file.path}, dataset {self.key!r}"

    @property
    def shape(self) -> tuple[int, ...]:
        """The stored shape, of two or three axes.

        Raises:
            UserError: other axes, an empty array, or the wrong type.
        """
        if not self._shape:
            dataset = self.file.dataset(self.key)
            check_numeric(dataset.dtype, self.where)
            if dataset.dtype.kind not in self._kinds:
                wanted = "complex" if self._kinds == "c" else "real"
                raise UserError(f"{self.where}: its values are of type {dataset.dtype}; they should be {wanted}")
            if dataset.shape is None or dataset.ndim not in (2, 3) or 0 in dataset.shape:
                order = "[slices, H, W]" if self._axis == 0 else "[H, W, slices]"
                shape = dataset.shape if dataset.shape is not None else "none"
                raise UserError(f"{self.where}: its shape is {shape}; it should be a filled {order} or [H, W]")
            if dataset.ndim == 3:
                self._chunk = self._read_together(dataset)
            self._shape = dataset.shape
        return self._shape

    def __len__(self) -> int:
        return self.shape[self._axis] if len(self.shape) == 3 else 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Return slice ``index`` [H, W] as float32 or complex64."""
        index = position(index, len(self))
        if len(self.shape) == 2:
            values = self._read(())
        elif self._chunk > 1:
            values = self._from_chunk(index)
        else:
            values = self._read(self._select(index))
        return checked_slice(values, f"{self.where}, slice {index}")

    def release(self) -> None:
        """Forget the decoded chunks."""
        self._decoded = None

    def _read_together(self, dataset: h5py.Dataset) -> int:
        if dataset.chunks:
            return int(dataset.chunks[self._axis])
        if self._axis == 0:
            return 1
        slice_bytes = dataset.nbytes // dataset.shape[self._axis]
        return max(1, min(dataset.shape[self._axis], DECODED_BYTES.limit // (4 * slice_bytes)))

    def _from_chunk(self, index: int) -> np.ndarray:
        first = index - index % self._chunk
        if self._decoded is None or self._decoded[0] != first:
            self._decoded = (first, self._read(self._select(slice(first, first + self._chunk))))
        start, block = self._decoded
        DECODED_BYTES.use(self, block.nbytes)
        return block.take(index - start, axis=self._axis)

    def _select(self, which: int | slice) -> tuple[int | slice, ...]:
        everything: Sequence[slice] = [slice(None)] * 2
        return (*everything[: self._axis], which, *everything[self._axis :])

    def _read(self, selection: tuple[int | slice, ...]) -> np.ndarray:
        try:
            return np.asarray(self.file.dataset(self.key)[selection])
        except (OSError, RuntimeError) as error:
            raise UserError(f"{self.where}: it cannot be read; the file is damaged or truncated") from error

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_decoded": None}
