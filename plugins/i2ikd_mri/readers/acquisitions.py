"""Acquisitions of an ISMRMRD file: encoding, kinds, selection, and the place of each line in k-space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from i2ikd import UserError

COUNTERS = ("contrast", "phase", "repetition", "set")
"""Counters of which a volume has one value each; averages are averaged, segments are parts of one k-space."""

_NOISE, _CALIBRATION, _CALIBRATION_AND_IMAGING, _REVERSE = 19, 20, 21, 22
_NO_IMAGE = (_NOISE, 23, 24, 26, 27, 28, 29, 30, 31)
"""Flags of noise, navigators, phase correction, feedback, dummy scans, coil correction and phase stabilisation."""


@dataclass(frozen=True)
class Encoding:
    """Cartesian encoding of a header (https://ismrmrd.readthedocs.io). Axes are readout, step 1 and step 2.

    Attributes:
        encoded: number of samples of each axis of the encoded k-space.
        image: number of pixels of each axis of the field of view to reconstruct, at the resolution of the encoded one.
        spacing: distance of the pixels of each axis in millimetres.
        centre: steps 1 and 2 of zero frequency.
        first: smallest steps 1 and 2.
        last: largest steps 1 and 2.
    """

    encoded: tuple[int, int, int]
    image: tuple[int, int, int]
    spacing: tuple[float, float, float]
    centre: tuple[int, int]
    first: tuple[int, int]
    last: tuple[int, int]

    @classmethod
    def of(cls, header: Any, where: str) -> Encoding:
        """Read the first encoding of a header.

        Args:
            header: ``ismrmrd.xsd.ismrmrdHeader``.
            where: prefix of messages.

        Raises:
            UserError: the header has no encoding, or another than a Cartesian one.
        """
        if not header.encoding:
            raise UserError(f"{where}: expected an encoding in the ISMRMRD header, got none")
        encoding = header.encoding[0]
        trajectory = str(getattr(encoding.trajectory, "value", encoding.trajectory)).lower()
        if trajectory != "cartesian":
            raise UserError(
                f"{where}: expected Cartesian acquisitions, got the trajectory {trajectory!r}; reconstruct the file "
                "with another tool, and read its images"
            )
        spaces = encoding.encodedSpace, encoding.reconSpace
        encoded, wanted = (tuple(int(getattr(space.matrixSize, axis)) for axis in "xyz") for space in spaces)
        view, smaller = (tuple(float(getattr(space.fieldOfView_mm, axis)) for axis in "xyz") for space in spaces)
        pixels = [
            min(n, round(n * part / whole) if whole > 0 and part > 0 else other) or 1
            for n, other, whole, part in zip(encoded, wanted, view, smaller)
        ]
        spacing = [whole / n if whole > 0 else 1.0 for n, whole in zip(encoded, view)]
        found = [_limits(encoding.encodingLimits, f"kspace_encoding_step_{step}", n) for step, n in enumerate(encoded)][
            1:
        ]
        return cls(
            (encoded[0], encoded[1], encoded[2]),
            (pixels[0], pixels[1], pixels[2]),
            (spacing[0], spacing[1], spacing[2]),
            *((step_1, step_2) for step_1, step_2 in zip(*found)),
        )

    @property
    def is_volume(self) -> bool:
        """Whether slices are encoded by step 2 (3-D), instead of excited one by one."""
        return self.encoded[2] > 1

    def place(self, step: np.ndarray, axis: int) -> np.ndarray:
        """Return the indices of lines in k-space, with zero frequency at n // 2.

        Args:
            step: encoding steps.
            axis: 1 or 2.
        """
        return self.encoded[axis] // 2 - self.centre[axis - 1] + step.astype(int)

    def expected(self, axis: int) -> range:
        """Return the indices of the lines between the limits of the encoding.

        Args:
            axis: 1 or 2.
        """
        shift = self.encoded[axis] // 2 - self.centre[axis - 1]
        return range(max(shift + self.first[axis - 1], 0), min(shift + self.last[axis - 1] + 1, self.encoded[axis]))


@dataclass(frozen=True)
class Acquisitions:
    """Acquisitions of one volume.

    Attributes:
        heads: headers of all acquisitions of the file.
        lines: indices of the selected imaging acquisitions.
        noise: indices of the noise measurements.
    """

    heads: np.ndarray
    lines: np.ndarray
    noise: np.ndarray

    @classmethod
    def select(cls, heads: np.ndarray, chosen: Mapping[str, int | None], where: str) -> Acquisitions:
        """Select the imaging acquisitions of the first encoding.

        Args:
            heads: headers, an array of ``ismrmrd.hdf5.acquisition_header_dtype``.
            chosen: value of each of ``COUNTERS``; ``None``: the file has one.
            where: prefix of messages.

        Raises:
            UserError: there are several values of a counter and none is chosen, the chosen one is absent, readouts are
                reversed, or nothing is left.
        """
        calibration = _flagged(heads, _CALIBRATION) & ~_flagged(heads, _CALIBRATION_AND_IMAGING)
        other = np.logical_or.reduce([_flagged(heads, flag) for flag in _NO_IMAGE])
        imaging = ~calibration & ~other & (heads["encoding_space_ref"] == 0)
        for name, value in chosen.items():
            found = np.unique(heads["idx"][name][imaging]).tolist()
            if value is None and len(found) > 1:
                raise UserError(
                    f"{where}: expected one {name}, got {len(found)}; set the reader option {name} = {found[0]}, or "
                    f"another of {found[:8]}"
                )
            if value is not None:
                if value not in found:
                    raise UserError(f"{where}: no {name} {value}; expected one of {found[:8]}")
                imaging &= heads["idx"][name] == value
        if not imaging.any():
            raise UserError(f"{where}: expected imaging acquisitions, got none of {len(heads)} acquisitions")
        if (_flagged(heads, _REVERSE) & imaging).any():
            raise UserError(
                f"{where}: reversed readouts (EPI) are not supported; reconstruct the file with another tool, and read "
                "its images"
            )
        return cls(heads, np.flatnonzero(imaging), np.flatnonzero(_flagged(heads, _NOISE)))

    @property
    def coils(self) -> int:
        """Number of receiver channels."""
        return int(self.heads["active_channels"][self.lines[0]])

    def slices(self) -> list[np.ndarray]:
        """Return the indices of the acquisitions of each slice, in the order of slice numbers."""
        numbers = self.heads["idx"]["slice"][self.lines]
        return [self.lines[numbers == number] for number in np.unique(numbers)]


def _flagged(heads: np.ndarray, flag: int) -> np.ndarray:
    return (heads["flags"] & np.uint64(1 << (flag - 1))) != 0


def _limits(limits: Any, name: str, length: int) -> tuple[int, int, int]:
    """Return centre, minimum and maximum of a step; those of the whole axis where the header states none."""
    found = getattr(limits, name, None)
    if found is None:
        return length // 2, 0, length - 1
    return int(found.center), int(found.minimum), int(found.maximum)
