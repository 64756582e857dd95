"""NIfTI files, sliced along one of their axes."""

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
from i2ikd_mri.readers import SUFFIXES, stem
from i2ikd_mri.readers.budget import DECODED_BYTES
from i2ikd_mri.volumes import check_numeric, checked_slice, position

_UNREADABLE = (OSError, EOFError, zlib.error, ValueError, ImageFileError, nibabel.spatialimages.HeaderDataError)


class NiftiReader:
    """Reads ``.nii`` and ``.nii.gz`` as ``image`` [H, W], the two stored axes that are not ``axis`` in their order.

    Slices are not turned to a display convention, so that a result can be written back with the file's affine.

    Args:
        axis: the axis that counts the slices.
        frame: which image of a 4-D series is read; a series is refused without it.
    """

    suffixes = SUFFIXES["nifti"]

    def __init__(
        self, axis: Annotated[int, Field(ge=0, le=2)] = 2, frame: Annotated[int, Field(ge=0)] | None = None
    ) -> None:
        self.axis = axis
        self.frame = frame

    def __call__(self, path: Path) -> NiftiVolume:
        """Return the volume; the file is opened on first use.

        Raises (then):
            UserError: the file is no NIfTI file or truncated, or has the wrong number of axes.
        """
        return NiftiVolume(Path(path), self.axis, self.frame)


class NiftiVolume:
    """One NIfTI file as a volume.

    An uncompressed file is read slice by slice. A compressed one can only be decompressed from its start: it is
    decoded once and kept within the budget of the process.
    """

    def __init__(self, path: Path, axis: int, frame: int | None) -> None:
        self.name = stem(path.name)
        self.path = path
        self.axis = axis
        self._frame = frame
        self._image: Any = None
        self._decoded: np.ndarray | None = None

    @property
    def affine(self) -> np.ndarray:
        """The file's affine [4, 4], from voxel indices to millimetres."""
        return np.asarray(self._opened().affine)

    def __len__(self) -> int:
        return int(self._opened().shape[self.axis])

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32, or complex64 where the file is complex."""
        index = position(index, len(self))
        try:
            values = self._read(index)
        except _UNREADABLE as error:
            raise UserError(
                f"{self.path}, slice {index}: it cannot be read; the file is damaged or truncated"
            ) from error
        return {"image": checked_slice(values, f"{self.path}, slice {index}")}

    def release(self) -> None:
        """Forget the decompressed data."""
        self._decoded = None

    def _read(self, index: int) -> np.ndarray:
        proxy = self._opened().dataobj
        series = () if len(proxy.shape) == 3 else (self._frame or 0,)
        if not self.path.name.lower().endswith(".gz"):
            within = [slice(None)] * 2
            return np.asarray(proxy[(*within[: self.axis], index, *within[self.axis :], *series)])
        if self._decoded is None:
            self._decoded = np.asarray(proxy[(..., *series)])
        DECODED_BYTES.use(self, self._decoded.nbytes)
        return self._decoded.take(index, axis=self.axis)

    def _opened(self) -> Any:
        if self._image is None:
            if not self.path.is_file():
                raise UserError(f"{self.path}: there is no such file")
            try:
                image = nibabel.load(self.path)
            except _UNREADABLE as error:
                raise UserError(f"{self.path}: this is not a NIfTI file, or it is damaged") from error
            self._check(image)
            self._image = image
        return self._image

    def _check(self, image: Any) -> None:
        shape = image.shape
        check_numeric(image.get_data_dtype(), str(self.path))
        if len(shape) not in (3, 4) or 0 in shape:
            raise UserError(f"{self.path}: its shape is {shape}; it should have three axes, all of them filled")
        if len(shape) == 4 and shape[3] > 1 and self._frame is None:
            raise UserError(
                f"{self.path}: it is a series of {shape[3]} images; say which with the reader's option frame = 0"
            )
        if self._frame is not None and self._frame >= (shape[3] if len(shape) == 4 else 1):
            raise UserError(f"{self.path}: there is no frame {self._frame} in the shape {shape}")

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_image": None, "_decoded": None}
