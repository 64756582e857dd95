"""HDF5 files, opened once in a process and read slice by slice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from i2ikd import UserError
from i2ikd_mri.readers.process_caches import DECODED, OPEN_FILES
from i2ikd_mri.volumes import check_numeric, checked_slice, position


class Hdf5File:
    """HDF5 file that is opened on first use and stays open; safe to pickle and to use after a fork.

    Args:
        path: the file.

    Attributes:
        opens: how often this process has opened the file through this object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opens = 0
        self._process = 0

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return id(self) in OPEN_FILES

    def opened(self) -> h5py.File:
        """Return the open file.

        Raises:
            UserError: the file is missing, unreadable, truncated or not HDF5.
        """
        if self._process != os.getpid():
            # A handle from before a fork shares its file position with the parent process, so it is opened again.
            OPEN_FILES.remove(id(self))
            self._process, self.opens = os.getpid(), 0
        file: h5py.File | None = OPEN_FILES.get(id(self))
        if file is None:
            file = self._open()
            self.opens += 1
            OPEN_FILES.put(id(self), file, size=0, owner=self)
        return file

    def dataset(self, key: str) -> h5py.Dataset:
        """Return a dataset of the file.

        Args:
            key: name of the dataset.

        Raises:
            UserError: the dataset does not exist; the message lists those that do.
        """
        dataset = self.opened().get(key)
        if not isinstance(dataset, h5py.Dataset):
            raise UserError(f"{self.path}: no dataset {key!r}; it holds {self._holdings()}")
        return dataset

    def _open(self) -> h5py.File:
        if not self.path.is_file():
            raise UserError(f"{self.path}: no such file")
        if not os.access(self.path, os.R_OK):
            raise UserError(f"{self.path}: no permission to read the file; change its permissions")
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            if "truncated" in str(error):
                raise UserError(f"{self.path}: the HDF5 file is truncated; copy or download it again") from error
            if not h5py.is_hdf5(self.path):
                raise UserError(f"{self.path}: not an HDF5 file") from error
            reason = str(error).replace("\n", " ")
            raise UserError(f"{self.path}: the HDF5 file cannot be opened: {reason}") from error

    def _holdings(self) -> str:
        """List the first 12 datasets, for a message."""
        names: list[str] = []
        try:
            self.opened().visititems(lambda n, item: names.append(n) if isinstance(item, h5py.Dataset) else None)
        except (OSError, RuntimeError):
            return "nothing that can be listed; the file is damaged"
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        return ", ".join(repr(name) for name in sorted(names)[:12]) + more or "no dataset"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "opens": 0, "_process": 0}


class Hdf5Stack:
    """Sequence of the slices of one HDF5 dataset.

    A slice is one read. Where a chunk spans several slices, or slices are interleaved in a contiguous dataset whose
    last axis is the slice axis, the slices of one read are cached within the limit of the process instead of being
    read again.

    Args:
        file: the file.
        key: name of the dataset.
        axis: slice axis of an array of three axes, 0 or 2; an array of two axes is one slice.
        kinds: accepted NumPy type kinds (``c``: complex).
    """

    def __init__(self, file: Hdf5File, key: str, axis: int, kinds: str = "biufc") -> None:
        self.file = file
        self.key = key
        self._axis = axis
        self._kinds = kinds
        self._shape: tuple[int, ...] = ()
        self._chunk = 1

    @property
    def where(self) -> str:
        """File and dataset, the prefix of messages."""
        return f"{self.file.path}, dataset {self.key!r}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Stored shape, of two or three axes.

        Raises:
            UserError: the array has another number of axes, is empty, or has a type that is not accepted.
        """
        if not self._shape:
            dataset = self.file.dataset(self.key)
            check_numeric(dataset.dtype, self.where)
            if dataset.dtype.kind not in self._kinds:
                expected = "complex" if self._kinds == "c" else "real"
                raise UserError(f"{self.where}: expected {expected} values, got the type {dataset.dtype}")
            if dataset.shape is None or dataset.ndim not in (2, 3) or 0 in dataset.shape:
                order = "[slices, H, W]" if self._axis == 0 else "[H, W, slices]"
                shape = dataset.shape if dataset.shape is not None else "none"
                raise UserError(f"{self.where}: expected a non-empty array {order} or [H, W], got the shape {shape}")
            if dataset.ndim == 3:
                self._chunk = self._read_together(dataset)
            self._shape = dataset.shape
        return self._shape

    def __len__(self) -> int:
        return self.shape[self._axis] if len(self.shape) == 3 else 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Return a slice [H, W] as float32 or complex64.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid.
        """
        index = position(index, len(self))
        if len(self.shape) == 2:
            values = self._read(())
        elif self._chunk > 1:
            values = self._from_chunk(index)
        else:
            values = self._read(self._select(index))
        return checked_slice(values, f"{self.where}, slice {index}")

    def _read_together(self, dataset: h5py.Dataset) -> int:
        """Return the number of slices that are read at once."""
        if dataset.chunks:
            return int(dataset.chunks[self._axis])
        if self._axis == 0:
            return 1
        slice_bytes = dataset.nbytes // dataset.shape[self._axis]
        return int(max(1, min(dataset.shape[self._axis], DECODED.limit // (4 * slice_bytes))))

    def _from_chunk(self, index: int) -> np.ndarray:
        first = index - index % self._chunk
        cached: tuple[int, np.ndarray] | None = DECODED.get(id(self))
        if cached is None or cached[0] != first:
            cached = (first, self._read(self._select(slice(first, first + self._chunk))))
            DECODED.put(id(self), cached, cached[1].nbytes, owner=self)
        return cached[1].take(index - first, axis=self._axis)

    def _select(self, which: int | slice) -> tuple[int | slice, ...]:
        everything: Sequence[slice] = [slice(None)] * 2
        return (*everything[: self._axis], which, *everything[self._axis :])

    def _read(self, selection: tuple[int | slice, ...]) -> np.ndarray:
        try:
            return np.asarray(self.file.dataset(self.key)[selection])
        except (OSError, RuntimeError) as error:
            raise UserError(f"{self.where}: cannot be read; the file is damaged or truncated") from error
