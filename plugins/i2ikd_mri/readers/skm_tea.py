"""Reader of the raw-data track of SKM-TEA: knees with k-space, coil maps and SENSE reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import h5py
import numpy as np
from pydantic import Field

from i2ikd import UserError
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.hdf5 import Hdf5File
from i2ikd_mri.readers.opening import names_its_file
from i2ikd_mri.volumes import checked_slice, position

_AXES = {
    "kspace": "[x, ky, kz, echoes, coils]",
    "maps": "[x, y, z, coils, maps]",
    "target": "[x, y, z, echoes, maps]",
}


class SkmTeaReader:
    """Reader of ``kspace``, ``maps`` and ``target`` of the files of ``files_recon_calib-24``.

    Slices are the first axis, along which k-space is already transformed; H is y and W is z. Shapes are those of the
    description of the data set (DATASET.md of github.com/StanfordMIMI/skm-tea): ``kspace`` [x, ky, kz, echoes, coils],
    ``maps`` [x, y, z, coils, 1], ``target`` [x, y, z, echoes, 1], all complex; ``masks/poisson_6.0x`` [ky, kz] of the
    measured part, around which k-space is padded with zeros. Transforms are orthonormal, with zero frequency and origin
    at n // 2, for a task with ``centered = true``.

    Fields of a slice: ``image`` [H, W] complex64 (the SENSE reconstruction), ``kspace`` and ``maps`` [coils, H, W], and
    ``mask`` [H, W] with an acceleration.

    Args:
        source: ``all`` fields, or the ``target`` alone, as ``image``.
        echo: index of the echo: 0 or 1.
        acceleration: of the stored mask (4, 6, 8, 10, 12 or 16), which is applied to the k-space; ``None``: no mask.

    Raises:
        UserError: an acceleration is set for ``source = "target"``, which has no k-space.
    """

    suffixes = SUFFIXES["skm-tea"]

    def __init__(
        self,
        source: Literal["all", "target"] = "all",
        echo: Annotated[int, Field(ge=0)] = 0,
        acceleration: Annotated[float, Field(gt=1)] | None = None,
    ) -> None:
        if source == "target" and acceleration is not None:
            raise UserError("reader 'skm-tea': acceleration needs source = 'all', got source = 'target'")
        self.source = source
        self.echo = echo
        self.acceleration = acceleration

    def __call__(self, path: Path) -> SkmTeaVolume:
        """Return the volume of a file, which is opened on first use.

        Args:
            path: the file.

        Raises:
            UserError: on first use, if the file is truncated or not HDF5, or has another layout.
        """
        return SkmTeaVolume(Path(path), self)


@names_its_file
class SkmTeaVolume:
    """Volume of one file of SKM-TEA.

    Args:
        path: the file.
        options: of the reader.
    """

    one_coil = "read its reconstruction: reader = { name = 'skm-tea', source = 'target' }"
    """Remedy for a task that needs one image."""

    def __init__(self, path: Path, options: SkmTeaReader) -> None:
        self.name = without_suffix(path.name, SUFFIXES["skm-tea"])
        self.file = Hdf5File(path)
        self.path = path
        self._options = options
        self._mask: np.ndarray | None = None

    @property
    def coils(self) -> int:
        """Number of coils of the k-space that a slice returns; 1 if it returns the target alone."""
        return 1 if self._options.source == "target" else int(self._stored("kspace").shape[-1])

    def __len__(self) -> int:
        length = int(self._stored("target").shape[0])
        self._stored("kspace")
        return length

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return the fields of a slice; see ``SkmTeaReader``.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid.
        """
        index, echo = position(index, len(self)), self._options.echo
        where = f"{self.path}, slice {index}"
        image = checked_slice(self._stored("target")[index, :, :, echo, 0], where)
        if self._options.source == "target":
            return {"image": image}
        kspace = np.moveaxis(self._stored("kspace")[index, :, :, echo], -1, 0)
        maps = np.moveaxis(self._stored("maps")[index, ..., 0], -1, 0)
        fields = {"image": image, "maps": checked_slice(maps, where, coils=True)}
        if self._options.acceleration is not None:
            fields["mask"] = self._padded_mask(kspace.shape[1:])
            kspace = kspace * fields["mask"]
        return {**fields, "kspace": checked_slice(kspace, where, coils=True)}

    def _padded_mask(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the mask [H, W] float32, the stored one in the centre."""
        if self._mask is None:
            key = f"masks/poisson_{float(self._options.acceleration or 0)}x"
            stored = np.asarray(self.file.dataset(key)[()])
            if stored.ndim != 2 or any(part > whole for part, whole in zip(stored.shape, shape)):
                raise UserError(
                    f"{self.path}, dataset {key!r}: expected a mask within {list(shape)}, got the shape {stored.shape}"
                )
            mask = np.zeros(shape, np.float32)
            first = [whole // 2 - part // 2 for whole, part in zip(shape, stored.shape)]
            mask[first[0] : first[0] + stored.shape[0], first[1] : first[1] + stored.shape[1]] = stored
            self._mask = mask
        return self._mask

    def _stored(self, key: str) -> h5py.Dataset:
        dataset = self.file.dataset(key)
        if dataset.ndim != 5 or 0 in dataset.shape or dataset.dtype.kind != "c":
            raise UserError(
                f"{self.path}, dataset {key!r}: expected complex values {_AXES[key]}, got the type {dataset.dtype} and "
                f"the shape {dataset.shape}"
            )
        if key != "maps" and self._options.echo >= dataset.shape[3]:
            raise UserError(f"{self.path}: no echo {self._options.echo} in the shape {dataset.shape} of {key!r}")
        return dataset
