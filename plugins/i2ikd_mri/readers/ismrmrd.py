"""Reader of ISMRMRD raw data: Cartesian acquisitions, sorted into k-space."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from i2ikd import UserError
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.acquisitions import Acquisitions, Encoding
from i2ikd_mri.readers.hdf5 import Hdf5File
from i2ikd_mri.readers.opening import names_its_file, naming_file, read_header
from i2ikd_mri.readers.prewhitening import bandwidth_factor, whitening_matrix
from i2ikd_mri.readers.process_caches import DECODED
from i2ikd_mri.readers.raw_kspace import central, image_of, root_sum_of_squares, without_oversampling
from i2ikd_mri.volumes import checked_slice, position

Counter = Annotated[int, Field(ge=0)]


class IsmrmrdReader:
    """Reader of Cartesian ISMRMRD files (https://ismrmrd.github.io), by the package ``ismrmrd``.

    Acquisitions are placed in k-space by their encoding steps, averages are averaged, and the oversampling of the
    readout is removed. H is the readout and W the phase encoding; zero frequency is at n // 2. Noise measurements
    whiten the coils: the noise of a sample that is measured once is then uncorrelated between coils, with variance 1. A
    volume has the slices of a 2-D acquisition, or those that a 3-D acquisition encodes.

    Fields of a slice: of one coil, the ``image`` [h, w] complex64, or, of an undersampled file, ``kspace`` [H, W] and
    ``mask`` [1, W], for a task with ``centered = true``. Of several coils, ``kspace`` [coils, H, W] complex64 and, if
    undersampled, ``mask``; or their magnitude as ``image``.

    Args:
        coils: ``all``: the k-space of every coil; ``rss``: the root of the sum of squares of their images.
        whiten: whether noise measurements whiten the coils.
        unmeasured: lines within the limits of the encoding that are not measured: ``undersampled`` makes the file an
            undersampled one, ``padding`` leaves them 0 in a fully sampled one (elliptical 3-D acquisitions).
        contrast: index of the contrast (echo); ``None``: the file has one.
        phase: index of the cardiac phase; ``None``: the file has one.
        repetition: index of the repetition; ``None``: the file has one.
        set: index of the set; ``None``: the file has one.
        dataset: name of the HDF5 group.
    """

    suffixes = SUFFIXES["ismrmrd"]

    def __init__(
        self,
        coils: Literal["all", "rss"] = "all",
        whiten: bool = True,
        unmeasured: Literal["undersampled", "padding"] = "undersampled",
        contrast: Counter | None = None,
        phase: Counter | None = None,
        repetition: Counter | None = None,
        set: Counter | None = None,  # noqa: A002 (the name in the standard)
        dataset: str = "dataset",
    ) -> None:
        self.coils = coils
        self.whiten = whiten
        self.padded = unmeasured == "padding"
        self.counters = {"contrast": contrast, "phase": phase, "repetition": repetition, "set": set}
        self.dataset = dataset

    def __call__(self, path: Path) -> IsmrmrdVolume:
        """Return the volume of a file, which is opened on first use.

        Args:
            path: the file.

        Raises:
            UserError: on first use, if the file is damaged or of another layout, the package is not installed, or the
                acquisitions are not Cartesian or not one image.
        """
        return IsmrmrdVolume(Path(path), self)


@names_its_file
class IsmrmrdVolume:
    """Volume of one ISMRMRD file.

    Args:
        path: the file.
        options: of the reader.
    """

    axis = 2
    """Slice axis of ``affine``."""
    one_coil = "combine the coils: reader = { name = 'ismrmrd', coils = 'rss' }"
    """Remedy for a task that needs one image."""

    def __init__(self, path: Path, options: IsmrmrdReader) -> None:
        self.name = without_suffix(path.name, SUFFIXES["ismrmrd"])
        self.file = Hdf5File(path)
        self.path = path
        self._options = options

    @property
    def coils(self) -> int:
        """Number of coils of the k-space that a slice returns; 1 if they are combined."""
        return 1 if self._options.coils == "rss" else self._acquisitions.coils

    @property
    def reconstruction_size(self) -> tuple[int, int]:
        """(height, width) of the image to reconstruct: k-space may have a larger field of view along W."""
        return self._encoding.image[0], self._encoding.image[1]

    def __len__(self) -> int:
        return self._encoding.image[2] if self._encoding.is_volume else len(self._slices)

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return the fields of a slice; see ``IsmrmrdReader``.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid, or undersampled k-space would have to be combined.
        """
        index, where = position(index, len(self)), f"{self.path}, slice {index}"
        if self._encoding.is_volume:
            kspace, measured = self._volume()[index], np.ones(self._encoding.encoded[1], bool)
        else:
            filled, lines = self._sorted(self._slices[index])
            kspace, measured = filled[..., 0], lines[:, 0]
        within = self._encoding.expected(1)
        undersampled = not measured[within.start : within.stop].all() and not self._options.padded
        if undersampled and self._options.coils == "rss":
            raise UserError(f"{where}: expected fully sampled k-space for coils = 'rss', got an undersampled one")
        if undersampled or self.coils > 1:
            one = kspace[0] if self.coils == 1 else kspace
            fields = {"kspace": checked_slice(one, where, coils=one.ndim == 3)}
            return {**fields, "mask": measured[None].astype(np.float32)} if undersampled else fields
        images = central(image_of(kspace), self._encoding.image[1], -1)
        combined = root_sum_of_squares(images) if self._options.coils == "rss" else images[0]
        return {"image": checked_slice(combined, where)}

    @property
    def affine(self) -> np.ndarray | None:
        """Affine [4, 4] from (row, column, slice) to millimetres in the axes of NIfTI; ``None`` without directions."""
        heads = self._acquisitions.heads
        first = heads[self._slices[0][0]]
        directions = np.stack([first["read_dir"], first["phase_dir"], first["slice_dir"]], 1).astype(float)
        if not all(np.abs(directions).any(0)):
            return None
        matrix = np.eye(4)
        matrix[:3, :3] = directions * self._encoding.spacing
        origin = first["position"].astype(float)
        centre = [n // 2 for n in self._encoding.image]
        if not self._encoding.is_volume:
            centre[2] = 0
            if len(self._slices) > 1:
                last = heads[self._slices[-1][0]]["position"].astype(float)
                matrix[:3, 2] = (last - origin) / (len(self._slices) - 1)
        matrix[:3, 3] = origin - matrix[:3, :3] @ centre
        return np.diag([-1.0, -1, 1, 1]) @ matrix  # patient axes point to left and posterior, those of NIfTI opposite

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name in ("name", "file", "path", "_options")}

    def _volume(self) -> np.ndarray:
        """Return the k-space of the slices of a 3-D acquisition [slices, coils, H, W]."""
        cached: np.ndarray | None = DECODED.get(id(self))
        if cached is None:
            kspace, measured = self._sorted(self._acquisitions.lines)
            rows, columns = self._encoding.expected(1), self._encoding.expected(2)
            box = measured[rows.start : rows.stop, columns.start : columns.stop]
            if not (box.all() or self._options.padded):
                raise UserError(
                    f"{self.path}: expected all {box.size} lines of the 3-D acquisition, got {int(box.sum())}; "
                    "undersampled 3-D acquisitions are not supported: set the reader option unmeasured = 'padding' if "
                    "the others were never to be measured"
                )
            along_slices = central(image_of(kspace, (-1,)), self._encoding.image[2], -1)
            cached = np.ascontiguousarray(np.moveaxis(along_slices, -1, 0), np.complex64)
            DECODED.put(id(self), cached, cached.nbytes, owner=self)
        return cached

    def _sorted(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the k-space [coils, readout, step 1, step 2] of acquisitions, and which lines they measured."""
        encoding, coils = self._encoding, self._acquisitions.coils
        kspace = np.zeros((coils, *encoding.encoded), np.complex128)
        counts = np.zeros(encoding.encoded[1:], int)
        counters = self._acquisitions.heads["idx"][indices]
        steps = [encoding.place(counters[f"kspace_encode_step_{axis}"], axis) for axis in (1, 2)]
        for acquisition, row, column in zip(self._read(indices), *steps):
            if not (0 <= row < encoding.encoded[1] and 0 <= column < encoding.encoded[2]):
                raise UserError(
                    f"{self.path}: expected encoding steps within the encoded matrix {list(encoding.encoded)}, got the "
                    f"line ({row}, {column}); the limits of the header are wrong"
                )
            kspace[:, :, row, column] += self._readout(acquisition)
            counts[row, column] += 1
        kspace /= np.maximum(counts, 1)
        if self._whitening is not None:
            kspace = np.tensordot(self._whitening, kspace, 1)
        return without_oversampling(kspace, encoding.image[0], 1), counts > 0

    def _readout(self, acquisition: Any) -> np.ndarray:
        """Return the samples [coils, readout] of one acquisition, its centre at n // 2."""
        length = self._encoding.encoded[0]
        filled = np.zeros((self._acquisitions.coils, length), np.complex64)
        first, last = acquisition.discard_pre, acquisition.number_of_samples - acquisition.discard_post
        start = length // 2 - acquisition.center_sample + first
        if acquisition.active_channels != len(filled) or start < 0 or start + last - first > length:
            raise UserError(
                f"{self.path}: expected readouts of {len(filled)} coils and at most {length} samples, got "
                f"{acquisition.active_channels} coils and the samples {start}..{start + last - first - 1}"
            )
        filled[:, start : start + last - first] = acquisition.data[:, first:last]
        return filled

    def _read(self, indices: np.ndarray) -> list[Any]:
        """Return acquisitions; neighbours in the file are one read."""
        stored = self._package("file").Acquisitions(self.file.dataset(f"{self._options.dataset}/data"))
        runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
        with naming_file(self.path, "acquisitions cannot be read; the file is damaged or truncated"):
            return [acquisition for run in runs for acquisition in stored[int(run[0]) : int(run[-1]) + 1]]

    @cached_property
    def _header(self) -> Any:
        group = self._options.dataset
        data = self.file.dataset(f"{group}/data")
        text = self.file.dataset(f"{group}/xml")[0]
        if data.dtype.names is None or "head" not in data.dtype.names:
            raise UserError(f"{self.path}: expected acquisitions in {group}/data, got the type {data.dtype}")
        parse = self._package("xsd").CreateFromDocument
        return read_header(self.path, lambda: parse(text), "the ISMRMRD header cannot be read")

    @cached_property
    def _encoding(self) -> Encoding:
        return Encoding.of(self._header, str(self.path))

    @cached_property
    def _acquisitions(self) -> Acquisitions:
        _ = self._header
        heads = self.file.dataset(f"{self._options.dataset}/data")["head"]
        return Acquisitions.select(heads, self._options.counters, str(self.path))

    @cached_property
    def _slices(self) -> list[np.ndarray]:
        return self._acquisitions.slices()

    @cached_property
    def _whitening(self) -> np.ndarray | None:
        """Matrix [coils, coils] that whitens the coils; ``None`` without noise measurement."""
        acquisitions = self._acquisitions
        if not self._options.whiten or not len(acquisitions.noise):
            return None
        measured = [noise.data for noise in self._read(acquisitions.noise)]
        if any(len(noise) != acquisitions.coils for noise in measured):
            raise UserError(
                f"{self.path}: expected noise of {acquisitions.coils} coils, got {len(measured[0])}; set the reader "
                "option whiten = false"
            )
        times = acquisitions.heads["sample_time_us"]
        system = self._header.acquisitionSystemInformation
        factor = bandwidth_factor(
            float(times[acquisitions.noise[0]]),
            float(times[acquisitions.lines[0]]),
            None if system is None else system.relativeReceiverNoiseBandwidth,
        )
        return factor * whitening_matrix(np.concatenate(measured, 1), str(self.path))

    def _package(self, module: str) -> Any:
        """Import a module of the package ``ismrmrd``."""
        try:
            return importlib.import_module(f"ismrmrd.{module}")
        except ImportError as error:
            raise UserError(
                f"{self.path}: an ISMRMRD file; the package ismrmrd is not installed: pip install 'i2ikd[ismrmrd]'"
            ) from error
