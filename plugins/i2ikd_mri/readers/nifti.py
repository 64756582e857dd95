"""Reader of the volume formats of nibabel (NIfTI, MGH, MINC, PAR/REC), sliced along one of their axes."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import nibabel
import numpy as np
from pydantic import Field

from i2ikd import UserError
from i2ikd.files import require_regular_file
from i2ikd_mri.readers import SUFFIXES, companions, without_suffix
from i2ikd_mri.readers.axes import Side, other_axis
from i2ikd_mri.readers.opening import (
    names_its_file,
    read_header,
    require_plausible_size,
)
from i2ikd_mri.readers.process_caches import DECODED
from i2ikd_mri.readers.whole_gzip import decompressed, require_plausible_start
from i2ikd_mri.volumes import check_numeric, checked_slice, position

Plane = Literal["axial", "coronal", "sagittal"]

_DIRECTIONS: dict[str, tuple[str, str, str]] = {
    "axial": ("P", "L", "S"),
    "coronal": ("I", "L", "P"),
    "sagittal": ("I", "P", "R"),
}
"""Directions (to the left, posterior, superior, ...) in which rows, columns and slices of a plane are numbered."""
_GZIP = (".gz", ".mgz")
_COMPRESSED = (*_GZIP, ".bz2", ".zst")


class NiftiReader:
    """Reader of the formats of nibabel as ``image`` [H, W]: the two stored axes other than the slice axis, in order.

    With ``plane``, slices are oriented for display by the affine, as in radiology: anterior (axial) or superior is at
    the top, the right of the patient (sagittal: anterior) at the left. Results are written in the orientation of the
    file.

    NIfTI (``.nii``, ``.nii.gz``, ``.hdr`` with ``.img``), Analyze (``.hdr`` with ``.img``), MGH (``.mgh``, ``.mgz``),
    MINC (``.mnc``) and Philips PAR/REC (``.par`` with ``.rec``). A file of two axes is one slice, in its orientation.

    Args:
        axis: slice axis, 0..2; ``None``: 2, or the axis of ``plane``.
        frame: image of a series [x, y, z, t]: its index, or ``all`` for the slices of every image, one image after the
            other; required for a series of more than one image.
        plane: anatomical plane of the slices. Axes are permuted and reversed, not interpolated: the slices of an
            oblique volume are those closest to the plane.

    Raises:
        UserError: both ``axis`` and ``plane`` are set.
    """

    suffixes = SUFFIXES["nifti"]

    def __init__(
        self,
        axis: Annotated[int, Field(ge=0, le=2)] | None = None,
        frame: Annotated[int, Field(ge=0)] | Literal["all"] | None = None,
        plane: Plane | None = None,
    ) -> None:
        if axis is not None and plane is not None:
            raise UserError(f"reader 'nifti': expected axis or plane, got axis = {axis} and plane = {plane!r}")
        self.axis = axis
        self.frame = frame
        self.plane = plane

    def __call__(self, path: Path) -> NiftiVolume:
        """Return the volume of a file, which is opened on first use.

        Args:
            path: the file; of a pair, the header.

        Raises:
            UserError: on first use, if the file is truncated or of another format, or has another number of axes.
        """
        return NiftiVolume(Path(path), self.axis, self.frame, self.plane)


@names_its_file
class NiftiVolume:
    """Volume of one file.

    An uncompressed file is read slice by slice. A compressed one can only be decompressed from its start: it is
    decompressed once and cached within the limit of the process.

    Args:
        path: the file.
        axis: slice axis, 0..2; ``None``: 2, or the axis of ``plane``.
        frame: index of the image of a series, or ``all``.
        plane: anatomical plane of the slices.
    """

    def __init__(
        self, path: Path, axis: int | None = None, frame: int | str | None = None, plane: Plane | None = None
    ) -> None:
        self.name = without_suffix(path.name, SUFFIXES["nifti"])
        self.path = path
        self._axis = axis
        self._frame = frame
        self._plane = plane
        self._image: Any = None

    @property
    def affine(self) -> np.ndarray:
        """Affine [4, 4] from voxel indices to millimetres: of the file, or, with ``plane``, of its oriented axes."""
        stored = np.asarray(self._opened().affine)
        if self._orientation is None:
            return stored
        return stored @ nibabel.orientations.inv_ornt_aff(self._orientation, self._opened().shape[:3])

    @property
    def orientation(self) -> np.ndarray | None:
        """Orientation [3, 2] of nibabel that returns rows, columns and slices of ``plane`` to the axes of the file."""
        if self._orientation is None:
            return None
        back = np.zeros_like(self._orientation)
        for stored, (axis, direction) in enumerate(self._orientation):
            back[int(axis)] = stored, direction
        return back

    @property
    def header(self) -> Any:
        """Header of the file, an object of nibabel."""
        return self._opened().header

    @property
    def axis(self) -> int:
        """Slice axis of ``affine``, 0..2; of a file of two axes, and with ``plane``, always 2.

        Raises:
            UserError: the affine does not determine the axes of ``plane``.
        """
        if len(self._opened().shape) == 2 or self._orientation is not None or self._axis is None:
            return 2
        return self._axis

    @cached_property
    def _orientation(self) -> np.ndarray | None:
        """Place and direction of each stored axis among rows, columns and slices of ``plane``; ``None`` without it."""
        image = self._opened()
        if self._plane is None or len(image.shape) == 2:
            return None
        stored = nibabel.io_orientation(image.affine)
        if np.isnan(stored).any():
            raise UserError(
                f"{self.path}: its affine does not determine the {self._plane} plane; set the reader option axis "
                "instead of plane"
            )
        wanted = nibabel.orientations.axcodes2ornt(_DIRECTIONS[self._plane])
        return nibabel.orientations.ornt_transform(stored, wanted)

    def slices_along(self, side: Side) -> dict[str, object]:
        """Return the option of the reader for another order; see ``Reorderable``."""
        return {} if self._plane is not None else other_axis(self.axis, side)

    @property
    def frames(self) -> int:
        """Number of images whose slices the volume has: more than 1 for ``frame = 'all'`` only."""
        return self._stored_frames() if self._frame == "all" else 1

    def __len__(self) -> int:
        return self._depth * self.frames

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32, or complex64 where the file is complex.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid.
        """
        index = position(index, len(self))
        values = self._read(index)
        return {"image": checked_slice(values, f"{self.path}, slice {index}")}

    def _read(self, index: int) -> np.ndarray:
        frame, place = divmod(index, self._depth)
        proxy = self._opened().dataobj
        if len(proxy.shape) == 2:
            return np.asarray(proxy)
        if isinstance(self._frame, int):
            frame = self._frame
        series = tuple(frame if length > 1 else 0 for length in proxy.shape[3:])
        within = self._index(place)
        if not self.path.name.lower().endswith(_COMPRESSED):
            return self._oriented(np.asarray(proxy[(*within, *series)]))
        cached: tuple[int, np.ndarray] | None = DECODED.get(id(self))
        if cached is None or cached[0] != frame:
            stored = np.asarray(self._decompressed(proxy)[(..., *series)])
            cached = (frame, stored if self._stored_frames() == 1 else stored.copy("K"))  # one frame alone is kept
            DECODED.put(id(self), cached, cached[1].nbytes, owner=self)
        # Basic indexing is a view; `take` would copy the whole volume, which is in Fortran order, for each slice.
        return self._oriented(cached[1][within])

    def _decompressed(self, proxy: Any) -> Any:
        """Return an array, or a proxy of one, on the content of a gzip file, which one call decompresses.

        nibabel reads through a file object in blocks of some KiB, which takes a third longer, and copies the content.
        """
        if not self.path.name.lower().endswith(_GZIP) or not isinstance(proxy, nibabel.arrayproxy.ArrayProxy):
            return proxy
        size = proxy.offset + proxy.dtype.itemsize * math.prod(proxy.shape)
        content = decompressed(self.path, size)
        if (proxy.slope, proxy.inter) == (1, 0) and len(content) >= size:
            return np.ndarray(proxy.shape, proxy.dtype, content, proxy.offset, order=proxy.order)
        spec = (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
        return type(proxy)(io.BytesIO(content), spec, order=proxy.order)

    @cached_property
    def _slice_axis(self) -> int:
        """Stored axis of the slices."""
        return self.axis if self._orientation is None else self._orientation[:, 0].tolist().index(2)

    def _index(self, place: int) -> tuple[slice | int, ...]:
        """Return the index of a slice in the stored array of three axes."""
        axis = self._slice_axis
        if self._orientation is not None and self._orientation[axis, 1] < 0:
            place = self._depth - 1 - place
        within: list[slice | int] = [slice(None)] * 3
        within[axis] = place
        return tuple(within)

    def _oriented(self, values: np.ndarray) -> np.ndarray:
        """Return a slice, of two stored axes, with the rows and columns of ``plane``: a view."""
        if self._orientation is None:
            return values
        rows, columns = (self._orientation[self._orientation[:, 0] == place][0, 1] for place in (0, 1))
        first = next(axis for axis in range(3) if axis != self._slice_axis)
        turned = values if self._orientation[first, 0] == 0 else values.T
        return turned[:: int(rows), :: int(columns)]

    @cached_property
    def _depth(self) -> int:
        """Number of slices of one image."""
        shape = self._opened().shape
        return int(shape[self._slice_axis]) if len(shape) > 2 else 1

    def _stored_frames(self) -> int:
        return int(np.prod(self._opened().shape[3:], dtype=int))

    def _opened(self) -> Any:
        if self._image is None:
            image = read_header(self.path, self._parsed, "not a NIfTI file, or damaged")
            self._check(image)
            self._image = image
        return self._image

    def _parsed(self) -> Any:
        """Read the header, of a compressed file after the place of its values is compared with the size of the file."""
        files = (self.path, *companions(self.path))
        for file in files:
            require_regular_file(file)
        if self.path.name.lower().endswith(_GZIP):
            require_plausible_start(self.path)
        return nibabel.load(self.path)

    def _check(self, image: Any) -> None:
        shape = image.shape
        check_numeric(np.dtype(image.get_data_dtype()), str(self.path))
        size = sum(file.stat().st_size for file in (self.path, *companions(self.path)))
        if isinstance(image.dataobj, nibabel.arrayproxy.ArrayProxy):
            require_plausible_size(str(self.path), math.prod(map(int, shape)) * image.dataobj.dtype.itemsize, size)
        if len(shape) < 2 or min(shape) < 1 or sum(length > 1 for length in shape[3:]) > 1:
            raise UserError(
                f"{self.path}: expected a filled image [x, y] or [x, y, z], or a series [x, y, z, t], got the shape "
                f"{shape}"
            )
        frames = int(np.prod(shape[3:], dtype=int))
        if frames > 1 and self._frame is None:
            raise UserError(
                f"{self.path}: expected one image, got a series of {frames}; set the reader option frame = 0 for the "
                "first image, or frame = 'all'"
            )
        if isinstance(self._frame, int) and self._frame >= frames:
            raise UserError(f"{self.path}: no frame {self._frame} in the shape {shape}")

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_image": None}
