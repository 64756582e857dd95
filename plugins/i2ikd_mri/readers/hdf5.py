"""HDF5 files, opened once in a process and read slice by slice."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from i2ikd import UserError
from i2ikd_mri.readers.axes import Axes
from i2ikd_mri.readers.hdf5_links import require_regular_links, require_regular_storage
from i2ikd_mri.readers.opening import naming_file, read_header, require_plausible_size
from i2ikd_mri.readers.process_caches import DECODED, OPEN_FILES
from i2ikd_mri.volumes import check_numeric, checked_slice, position


class _OpenFile:
    """Open file with the datasets of numbers that were looked up in it."""

    def __init__(self, file: h5py.File) -> None:
        self.file = file
        self.datasets: dict[str, h5py.Dataset] = {}

    def close(self) -> None:
        self.datasets.clear()
        self.file.close()


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
        self._checked: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return id(self) in OPEN_FILES

    def opened(self) -> h5py.File:
        """Return the open file.

        Raises:
            UserError: the file is missing, unreadable, truncated or not HDF5.
        """
        return self._opened().file

    def _opened(self) -> _OpenFile:
        if self._process != os.getpid():
            # A handle from before a fork shares its file position with the parent process, so it is opened again.
            OPEN_FILES.remove(id(self))
            self._process, self.opens = os.getpid(), 0
        found: _OpenFile | None = OPEN_FILES.get(id(self))
        if found is None:
            found = _OpenFile(self._open())
            self.opens += 1
            OPEN_FILES.put(id(self), found, size=0, owner=self)
        return found

    def dataset(self, key: str) -> h5py.Dataset:
        """Return a dataset of the file.

        Args:
            key: name of the dataset.

        Raises:
            UserError: the dataset does not exist; the message lists those that do.
        """
        opened = self._opened()
        if key in opened.datasets:
            return opened.datasets[key]
        file = opened.file
        with naming_file(self.path):
            require_regular_links(file, key)
            dataset = file.get(key)
            if not isinstance(dataset, h5py.Dataset):
                raise UserError(f"{self.path}: no dataset {key!r}; it holds {self._holdings()}")
            if key not in self._checked:
                size = require_regular_storage(dataset)
                require_plausible_size(f"{self.path}, dataset {key!r}", dataset.nbytes, size)
                self._checked.add(key)
        if dataset.dtype.kind in "biufc":
            # repeated reads of one object with structured values crashed in h5py (tests of the reader ismrmrd)
            opened.datasets[key] = dataset
        return dataset

    def __contains__(self, key: str) -> bool:
        """Return whether the file has an object.

        Args:
            key: its name.

        Raises:
            UserError: the file cannot be opened, or a link on the way to the object leads to no regular file.
        """
        file = self.opened()
        with naming_file(self.path):
            require_regular_links(file, key)
            return key in file

    def _open(self) -> h5py.File:
        return read_header(self.path, self._open_regular, "the HDF5 file cannot be opened")

    def _open_regular(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            if "truncated" in str(error):
                raise UserError(f"{self.path}: the HDF5 file is truncated; copy or download it again") from error
            if not h5py.is_hdf5(self.path):
                remedy = "; save it in MATLAB with the option -v7.3" if self.path.suffix.lower() == ".mat" else ""
                raise UserError(f"{self.path}: not an HDF5 file{remedy}") from error
            raise

    def _holdings(self) -> str:
        """List the first 12 datasets, for a message."""
        names: list[str] = []
        try:
            self.opened().visititems(lambda n, item: names.append(n) if isinstance(item, h5py.Dataset) else None)
        except Exception:  # HDF5 raises exceptions of many types
            return "nothing that can be listed; the file is damaged"
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        return ", ".join(repr(name) for name in sorted(names)[:12]) + more or "no dataset"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "opens": 0, "_process": 0, "_checked": set()}


class Hdf5Stack:
    """Sequence of the slices of one HDF5 dataset.

    A slice is one read. Where a chunk spans several slices, or slices are interleaved in a contiguous dataset whose
    first axis is not the slice axis, the slices of one read are cached within the limit of the process instead of being
    read again.

    Arrays that MATLAB wrote (attribute ``MATLAB_class``, format 7.3) are stored with their axes reversed, and complex
    values as pairs of real and imaginary part; the order of axes is the one in MATLAB.

    Args:
        file: the file.
        key: name of the dataset.
        axes: order of the axes, or the slice axis, 0..2, of an array of three axes. An array with fewer axes lacks
            coils, or coils and slices (then it is one slice).
        kinds: accepted NumPy type kinds (``c``: complex).
        first: axis that an array with one axis less lacks, ``coils`` or ``slices``.
    """

    def __init__(self, file: Hdf5File, key: str, axes: Axes | int, kinds: str = "biufc", first: str = "coils") -> None:
        self.file = file
        self.key = key
        self._axes = Axes.stack(axes) if isinstance(axes, int) else axes
        self._kinds = kinds
        self._first = first
        self._stored: Axes | None = None
        self._shape: tuple[int, ...] = ()
        self._chunk = 1

    @property
    def where(self) -> str:
        """File and dataset, the prefix of messages."""
        return f"{self.file.path}, dataset {self.key!r}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Stored shape.

        Raises:
            UserError: the array has another number of axes, is empty, or has a type that is not accepted.
        """
        if not self._shape:
            dataset = self.file.dataset(self.key)
            dtype = _number_type(dataset.dtype)
            check_numeric(dtype, self.where)
            if dtype.kind not in self._kinds:
                expected = "complex" if self._kinds == "c" else "real"
                raise UserError(f"{self.where}: expected {expected} values, got the type {dtype}")
            stored = None
            if dataset.shape is not None and 0 not in dataset.shape:
                stored = self._axes.reduced(dataset.ndim, self._first)
            if stored is None:
                shape = dataset.shape if dataset.shape is not None else "none"
                raise UserError(
                    f"{self.where}: expected a non-empty array {self._axes} or [H, W], got the shape {shape}"
                )
            self._stored = stored.reversed() if "MATLAB_class" in dataset.attrs else stored
            if self._stored.slice_axis is not None:
                self._chunk = self._read_together(dataset, self._stored.slice_axis)
            self._shape = dataset.shape
        return self._shape

    @property
    def has_slices(self) -> bool:
        """Whether the array has a slice axis; otherwise it is one slice."""
        return self._order().slice_axis is not None

    @property
    def coils(self) -> int:
        """Number of coils; 1 without coil axis."""
        order = self._order()
        return self.shape[order.names.index("coils")] if "coils" in order.names else 1

    def __len__(self) -> int:
        axis = self._order().slice_axis
        return 1 if axis is None else self.shape[axis]

    def __getitem__(self, index: int) -> np.ndarray:
        """Return a slice [H, W], or [coils, H, W], as float32 or complex64.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid.
        """
        index = position(index, len(self))
        order = self._order()
        if order.slice_axis is None:
            values = order.arranged(self._read(()))
        elif self._chunk > 1:
            values = self._from_chunk(index, order.slice_axis)
        else:
            values = order.arranged(self._read(self._select(index, order.slice_axis)))
        return checked_slice(values, f"{self.where}, slice {index}", coils="coils" in order.names)

    def _order(self) -> Axes:
        assert self.shape and self._stored is not None, "reading the shape determines the order"
        return self._stored

    def _read_together(self, dataset: h5py.Dataset, axis: int) -> int:
        """Return the number of slices that are read at once."""
        if dataset.chunks:
            return int(dataset.chunks[axis])
        if axis == 0:
            return 1
        slice_bytes = dataset.nbytes // dataset.shape[axis]
        return int(max(1, min(dataset.shape[axis], DECODED.limit // (4 * slice_bytes))))

    def _from_chunk(self, index: int, axis: int) -> np.ndarray:
        first = index - index % self._chunk
        cached: tuple[int, np.ndarray] | None = DECODED.get(id(self))
        if cached is None or cached[0] != first:
            cached = (first, self._read(self._select(slice(first, first + self._chunk), axis)))
            DECODED.put(id(self), cached, cached[1].nbytes, owner=self)
        return self._order().arranged(cached[1], index - first).copy()  # a view would keep the cached slices alive

    def _select(self, which: int | slice, axis: int) -> tuple[int | slice, ...]:
        selection: list[int | slice] = [slice(None)] * len(self.shape)
        selection[axis] = which
        return tuple(selection)

    def _read(self, selection: tuple[int | slice, ...]) -> np.ndarray:
        with naming_file(self.where):
            values = np.asarray(self.file.dataset(self.key)[selection])
        if values.dtype.names is None:
            return values
        real, imaginary = (values[name] for name in values.dtype.names)
        return real.astype(_number_type(values.dtype)) + 1j * imaginary


def _number_type(dtype: np.dtype) -> np.dtype:
    """Return the complex type of pairs ``(real, imag)`` as MATLAB stores them, and other types unchanged."""
    if dtype.names == ("real", "imag"):
        return np.result_type(dtype["real"], np.complex64)
    return dtype
