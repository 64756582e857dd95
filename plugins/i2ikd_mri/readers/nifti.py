"""Reader of NIfTI files, sliced along one of their axes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from pydantic import Field

from i2ikd import UserError
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.process_caches import DECODED
from i2ikd_mri.volumes import check_numeric, checked_slice, position

_UNREADABLE = (OSError, EOFError, zlib.error, ValueError, ImageFileError, nibabel.spatialimages.HeaderDataError)


class NiftiReader:
    """Reader of ``.nii`` and ``.nii.gz`` as ``image`` [H, W]: the two stored axes other than ``axis``, in their order.

    Slices are not reoriented to a display convention, so that a result can be written with the affine of the file.

    Args:
        axis: slice axis, 0..2.
        frame: index of the image of a 4-D series; required for a series of more than one image.
    """

    suffixes = SUFFIXES["nifti"]

    def __init__(
        self, axis: Annotated[int, Field(ge=0, le=2)] = 2, frame: Annotated[int, Field(ge=0)] | None = None
    ) -> None:
        self.axis = axis
        self.frame = frame

    def __call__(self, path: Path) -> NiftiVolume:
        """Return the volume of a file, which is opened on first use.

        Args:
            path: the file.

        Raises:
            UserError: on first use, if the file is truncated or not NIfTI, or has another number of axes.
        """
        return NiftiVolume(Path(path), self.axis, self.frame)


class NiftiVolume:
    """Volume of one NIfTI file.

    An uncompressed file is read slice by slice. A compressed one can only be decompressed from its start: it is
    decompressed once and cached within the limit of the process.

    Args:
        path: the file.
        axis: slice axis, 0..2.
        frame: index of the image of a 4-D series.
    """

    def __init__(self, path: Path, axis: int, frame: int | None) -> None:
        self.name = without_suffix(path.name, SUFFIXES["nifti"])
        self.path = path
        self.axis = axis
        self._frame = frame
        self._image: Any = None

    @property
    def affine(self) -> np.ndarray:
        """Affine [4, 4] of the file, from voxel indices to millimetres."""
        return np.asarray(self._opened().affine)

    def __len__(self) -> int:
        return int(self._opened().shape[self.axis])

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32, or complex64 where the file is complex.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid.
        """
        index = position(index, len(self))
        try:
            values = self._read(index)
        except _UNREADABLE as error:
            raise UserError(
                f"{self.path}, slice {index}: it cannot be read; the file is damaged or truncated"
            ) from error
        return {"image": checked_slice(values, f"{self.path}, slice {index}")}

    def _read(self, index: int) -> np.ndarray:
        proxy = self._opened().dataobj
        series = () if len(proxy.shape) == 3 else (self._frame or 0,)
        if not self.path.name.lower().endswith(".gz"):
            within = [slice(None)] * 2
            return np.asarray(proxy[(*within[: self.axis], index, *within[self.axis :], *series)])
        decoded: np.ndarray | None = DECODED.get(id(self))
        if decoded is None:
            decoded = np.asarray(proxy[(..., *series)])
            DECODED.put(id(self), decoded, decoded.nbytes, owner=self)
        return decoded.take(index, axis=self.axis)

    def _opened(self) -> Any:
        if self._image is None:
            if not self.path.is_file():
                raise UserError(f"{self.path}: no such file")
            try:
                image = nibabel.load(self.path)
            except _UNREADABLE as error:
                raise UserError(f"{self.path}: not a NIfTI file, or damaged") from error
            self._check(image)
            self._image = image
        return self._image

    def _check(self, image: Any) -> None:
        shape = image.shape
        check_numeric(image.get_data_dtype(), str(self.path))
        if len(shape) not in (3, 4) or 0 in shape:
            raise UserError(f"{self.path}: expected three axes, none of them empty, got the shape {shape}")
        if len(shape) == 4 and shape[3] > 1 and self._frame is None:
            raise UserError(
                f"{self.path}: expected one image, got a series of {shape[3]}; set the reader option frame = 0"
            )
        if self._frame is not None and self._frame >= (shape[3] if len(shape) == 4 else 1):
            raise UserError(f"{self.path}: no frame {self._frame} in the shape {shape}")

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_image": None}
