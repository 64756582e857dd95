"""Reader of the raw brain data of Calgary-Campinas: k-space whose coils alternate in real and imaginary part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from i2ikd import UserError
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.hdf5 import Hdf5File
from i2ikd_mri.readers.opening import names_its_file
from i2ikd_mri.readers.raw_kspace import image_of, is_rectangle, root_sum_of_squares
from i2ikd_mri.volumes import checked_slice, position


class CalgaryCampinasReader:
    """Reader of ``kspace`` [slices, H, W, 2 coils], real: the last axis alternates real and imaginary parts.

    Slices are already transformed along the readout; H is the phase encoding (218 in most files) and W the slice
    encoding (170 or 180). Facts of the layout are from the code of the challenge (github.com/rmsouza01/MC-MRI-Rec:
    channels, plain inverse transform, masks around n // 2). Its zero frequency is at n // 2 and its image origin at
    index 0; k-space is returned with both at n // 2, for a task with ``centered = true``.

    Fields of a slice: ``kspace`` [coils, H, W] complex64 and, of the undersampled test files, ``mask`` [H, W], 1 where
    a sample of any coil is other than 0; or the magnitude of all coils as ``image``. Of a file with one coil, ``image``
    [H, W] complex64, or ``kspace`` [H, W] and ``mask``. Lines at the edge that are not measured are no undersampling.

    Args:
        coils: ``all``: the k-space of every coil; ``rss``: the root of the sum of squares of their images, as the
            reference of the challenge.
    """

    suffixes = SUFFIXES["calgary-campinas"]

    def __init__(self, coils: Literal["all", "rss"] = "all") -> None:
        self.coils = coils

    def __call__(self, path: Path) -> CalgaryCampinasVolume:
        """Return the volume of a file, which is opened on first use.

        Args:
            path: the file.

        Raises:
            UserError: on first use, if the file is truncated or not HDF5, or has another layout.
        """
        return CalgaryCampinasVolume(Path(path), self.coils == "rss")


@names_its_file
class CalgaryCampinasVolume:
    """Volume of one file of Calgary-Campinas.

    Args:
        path: the file.
        combined: whether the images of all coils are combined to their magnitude.
    """

    one_coil = "combine the coils: reader = { name = 'calgary-campinas', coils = 'rss' }"
    """Remedy for a task that needs one image."""

    def __init__(self, path: Path, combined: bool = False) -> None:
        self.name = without_suffix(path.name, SUFFIXES["calgary-campinas"])
        self.file = Hdf5File(path)
        self.path = path
        self._combined = combined

    @property
    def coils(self) -> int:
        """Number of coils of the k-space that a slice returns; 1 if they are combined."""
        return 1 if self._combined else self._stored().shape[-1] // 2

    def __len__(self) -> int:
        return int(self._stored().shape[0])

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return the fields of a slice; see ``CalgaryCampinasReader``.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid, or undersampled k-space would have to be combined.
        """
        index = position(index, len(self))
        where = f"{self.path}, slice {index}"
        pairs = np.ascontiguousarray(self._stored()[index], np.float32)
        kspace = np.moveaxis(pairs.view(np.complex64), -1, 0)
        measured = (kspace != 0).any(0)
        undersampled = measured.any() and not is_rectangle(measured)
        kspace = checked_slice(_origin_at_centre(kspace), where, coils=True)
        if undersampled and self._combined:
            raise UserError(f"{where}: expected fully sampled k-space for coils = 'rss', got an undersampled one")
        if self._combined:
            return {"image": checked_slice(root_sum_of_squares(image_of(kspace)), where)}
        if undersampled:
            return {"kspace": kspace[0] if len(kspace) == 1 else kspace, "mask": measured.astype(np.float32)}
        return {"kspace": kspace} if len(kspace) > 1 else {"image": checked_slice(image_of(kspace[0]), where)}

    def _stored(self) -> h5py.Dataset:
        dataset = self.file.dataset("kspace")
        if dataset.ndim != 4 or 0 in dataset.shape or dataset.shape[-1] % 2 or dataset.dtype.kind != "f":
            raise UserError(
                f"{self.path}, dataset 'kspace': expected real values [slices, H, W, 2 coils], got the type "
                f"{dataset.dtype} and the shape {dataset.shape}"
            )
        return dataset


def _origin_at_centre(kspace: np.ndarray) -> np.ndarray:
    """Return k-space whose centred transform is the image of the plain one: a phase that is linear in frequency."""
    for axis in (-2, -1):
        length = kspace.shape[axis]
        frequencies = np.arange(length) - length // 2
        phase = np.exp(2j * np.pi * frequencies * (length // 2) / length)
        kspace = kspace * (phase[:, None] if axis == -2 else phase)
    return kspace.astype(np.complex64)
