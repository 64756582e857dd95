"""Reader of fastMRI's HDF5 files: k-space with its header, stored reconstructions, undersampled test files."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from i2ikd import UserError
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.axes import Axes
from i2ikd_mri.readers.hdf5 import Hdf5File, Hdf5Stack
from i2ikd_mri.readers.opening import names_its_file
from i2ikd_mri.readers.raw_kspace import image_of
from i2ikd_mri.volumes import checked_slice

_ISMRMRD = "{http://www.ismrm.org/ISMRMRD}"
_RECONSTRUCTIONS = ("reconstruction_esc", "reconstruction_rss")


@dataclass(frozen=True)
class Header:
    """Values of an ISMRMRD header (https://ismrmrd.readthedocs.io) that the reconstruction needs.

    Attributes:
        size: (height, width) of the reconstructed image: the oversampled readout is cropped to the height.
        first: index of the first measured line of k-space; lines before it are padding.
        stop: index after the last measured line.
    """

    size: tuple[int, int]
    first: int
    stop: int

    @classmethod
    def parse(cls, text: bytes | str, where: str) -> Header:
        """Read the XML of the dataset ``ismrmrd_header``.

        As in fastMRI, padding on the left is the encoded width // 2 minus the central line, and ``maximum`` + 1 lines
        follow it.

        Args:
            text: XML.
            where: prefix of messages.

        Raises:
            UserError: the text is no XML, or a value is missing.
        """
        try:
            encoding = ElementTree.fromstring(text).find(f"{_ISMRMRD}encoding")
            if encoding is None:
                raise ValueError("no element encoding")
            size = (_integer(encoding, "reconSpace/matrixSize/x"), _integer(encoding, "reconSpace/matrixSize/y"))
            limits = "encodingLimits/kspace_encoding_step_1"
            first = _integer(encoding, "encodedSpace/matrixSize/y") // 2 - _integer(encoding, f"{limits}/center")
            return cls(size, first, first + _integer(encoding, f"{limits}/maximum") + 1)
        except (ElementTree.ParseError, ValueError) as error:
            raise UserError(f"{where}: the ISMRMRD header cannot be read: {error}") from error


class FastMriReader:
    """Reader of ``kspace`` complex, with zero frequency at n // 2, and of stored reconstructions.

    Fully sampled single-coil k-space is transformed (orthonormal) and cropped to the reconstruction size of the header,
    as ``image`` [h, w] complex64; its magnitude is fastMRI's ``reconstruction_esc``. Of a file with a ``mask``, the
    undersampled ``kspace`` [H, W] and the ``mask`` [1, W] are returned; its task needs ``centered = true``. Of
    multi-coil k-space [slices, coils, H, W], fully sampled or not, ``kspace`` [coils, H, W] is returned, with the
    ``mask`` where the file has one, for the task ``mri-multicoil``. Padded lines are set to 0.

    Args:
        source: ``kspace``; or ``reconstruction``: the stored magnitude ``reconstruction_esc``, or
            ``reconstruction_rss`` where the file has no other, is the ``image``.
    """

    suffixes = SUFFIXES["fastmri"]

    def __init__(self, source: Literal["kspace", "reconstruction"] = "kspace") -> None:
        self.source = source

    def __call__(self, path: Path) -> FastMriVolume:
        """Return the volume of a file, which is opened on first use.

        Args:
            path: the file.

        Raises:
            UserError: on first use, if the file is truncated or not HDF5, or has another layout.
        """
        return FastMriVolume(Path(path), self.source)


@names_its_file
class FastMriVolume:
    """Volume of one fastMRI file.

    Args:
        path: the file.
        source: see ``FastMriReader``.
    """

    def __init__(self, path: Path, source: Literal["kspace", "reconstruction"]) -> None:
        self.name = without_suffix(path.name, SUFFIXES["fastmri"])
        self.file = Hdf5File(path)
        self.path = path
        self._source = source
        self._stack: Hdf5Stack | None = None
        self._header: Header | None = None

    one_coil = "read its reconstruction: reader = { name = 'fastmri', source = 'reconstruction' } in [task.dataset]"
    """Remedy for a task that needs one image."""

    @property
    def coils(self) -> int:
        """Number of coils of the k-space that a slice returns; 1 for reconstructions."""
        return self._slices().coils

    @property
    def reconstruction_size(self) -> tuple[int, int]:
        """(height, width) of the reconstructed image, of the header.

        Raises:
            UserError: the file is missing, damaged or invalid.
        """
        return self._parsed().size

    def __len__(self) -> int:
        return len(self._slices())

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [h, w]; or ``kspace`` [H, W] and ``mask`` [1, W] of an undersampled file.

        Of several coils, ``kspace`` [coils, H, W] is returned, and the ``mask`` of an undersampled file.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid.
        """
        stored = self._slices()[index]
        if self._source == "reconstruction":
            return {"image": stored}
        header = self._parsed()
        stored[..., : max(header.first, 0)] = 0
        stored[..., header.stop :] = 0
        if "mask" in self.file:
            return {"kspace": stored, "mask": self._mask(stored.shape[-1], header)}
        if stored.ndim == 3:
            return {"kspace": stored}
        return {"image": checked_slice(_cropped(image_of(stored), header.size), f"{self.path}, slice {index}")}

    def _mask(self, width: int, header: Header) -> np.ndarray:
        mask = np.asarray(self.file.dataset("mask")[()], np.float32).reshape(1, -1)
        if mask.shape[1] != width:
            raise UserError(f"{self.path}, dataset 'mask': expected {width} lines, got {mask.shape[1]}")
        mask[:, : max(header.first, 0)] = 0
        mask[:, header.stop :] = 0
        return mask

    def _slices(self) -> Hdf5Stack:
        if self._stack is None:
            if self._source == "reconstruction":
                stored = [key for key in _RECONSTRUCTIONS if key in self.file]
                key = stored[0] if stored else _RECONSTRUCTIONS[0]
                stack = Hdf5Stack(self.file, key, 0, kinds="biuf")
            else:
                self._parsed()
                stack = Hdf5Stack(self.file, "kspace", Axes(("slices", "coils", "height", "width")), kinds="c")
            len(stack)
            self._stack = stack
        return self._stack

    def _parsed(self) -> Header:
        if self._header is None:
            dataset: h5py.Dataset = self.file.dataset("ismrmrd_header")
            self._header = Header.parse(dataset[()], str(self.path))
        return self._header


def _integer(element: ElementTree.Element, path: str) -> int:
    text = element.findtext("/".join(f"{_ISMRMRD}{part}" for part in path.split("/")))
    if text is None:
        raise ValueError(f"no element {path}")
    return int(text)


def _cropped(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the central part of an image; an axis shorter than ``size`` is not changed."""
    starts = [max(length - wanted, 0) // 2 for length, wanted in zip(image.shape, size)]
    return image[starts[0] : starts[0] + size[0], starts[1] : starts[1] + size[1]]
