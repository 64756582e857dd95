"""Checks of conventions that data itself shows: axis order, image or k-space, position of zero frequency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.fft

from i2ikd import UserError, Volume
from i2ikd_mri.readers.axes import Reorderable, Side

_FLAT = 4
"""Ratio of the number of slices, and of the longer side, to the shorter side from which on axes look swapped."""
_SMALLEST = 32
"""Pixels; the share of energy in a part of a smaller slice is no evidence."""
_PART = 8
"""Extent of a slice over the extent of the part in which a k-space has most of its energy."""
_CENTRE = 64
"""Number of lines of a mask over the half width of its centre."""
_FULLY, _SPARSELY = 0.75, 0.5
"""Share of measured samples that the centre of k-space exceeds, and that its edge does not."""


def refuse_implausible_axes(
    volume: Volume, sizes: Sequence[tuple[int, int]], where: str, reader: Mapping[str, object] | None = None
) -> None:
    """Check that the slices of an array are not cut along a wrong axis.

    Args:
        volume: the array, as its reader returned it.
        sizes: (height, width) of its slices in pixels.
        where: volume, the prefix of the message.
        reader: name and options of the reader, for the message.

    Raises:
        UserError: a side of the slices is less than a quarter of the other side and of the number of slices.
    """
    for height, width in sizes:
        short, long = min(height, width), max(height, width)
        if _FLAT * short <= min(long, len(volume)):
            remedy = _other_order(volume, "height" if height == short else "width", reader or {})
            raise UserError(
                f"{where}: expected slices of an image, got {len(volume)} slices of {height} x {width}; the slice axis "
                f"is probably the one of {short}: {remedy}, or conventions = 'trust' in [task.dataset] if the slices "
                "are so narrow"
            )


def _other_order(volume: Volume, side: Side, reader: Mapping[str, object]) -> str:
    """Return the setting of the reader that makes slices of a side, or where to find it."""
    name = reader.get("name")
    options = volume.slices_along(side) if isinstance(volume, Reorderable) else {}
    if name is None or not options:
        return f"set the axis order of the reader (i2ikd show reader {name or 'NAME'})"
    settings = ", ".join(f"{key} = {_as_toml(value)}" for key, value in {**reader, **options}.items())
    return f"set reader = {{ {settings} }}"


def _as_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def resembles_kspace(image: np.ndarray) -> bool:
    """Return whether a slice has its energy in a small part, around its centre or its corners, as a k-space has.

    An image is spread in space and concentrated in frequency; of a k-space the inverse is true.

    Args:
        image: [H, W], real or complex.
    """
    if min(image.shape) < _SMALLEST or not image.any():
        return False
    in_space, in_frequency = _concentration(image), _concentration(scipy.fft.fft2(image))
    return in_space > 0.5 and in_space > 2 * in_frequency


def refuse_kspace(where: str) -> None:
    """Raise the error of a k-space that is read as an image.

    Args:
        where: volume, the prefix of the message.

    Raises:
        UserError: always.
    """
    raise UserError(
        f"{where}: expected an image, got values whose energy lies in 1/{_PART**2} of the plane, as in a k-space; "
        "read the image of the file (reader option key; fastMRI: 'reconstruction_rss'), or use a reader of k-space "
        "(i2ikd list readers); set conventions = 'trust' in [task.dataset] if it is an image"
    )


def has_energy_at_other_position(kspace: np.ndarray, centered: bool) -> bool:
    """Return whether a k-space has its energy at the other position of zero frequency.

    Args:
        kspace: [H, W], complex.
        centered: stated position of zero frequency: index 0 (``False``) or n // 2 (``True``).
    """
    if min(kspace.shape[-2:]) < _SMALLEST:
        return False
    at_centre, at_corner = _parts(kspace)
    return at_corner > 2 * at_centre if centered else at_centre > 2 * at_corner


def is_centred_at_other_position(mask: np.ndarray, centered: bool) -> bool:
    """Return whether a mask has its fully sampled centre at the other position of zero frequency.

    Args:
        mask: [H, 1], [1, W] or [H, W] of zeros and ones.
        centered: stated position of zero frequency: index 0 (``False``) or n // 2 (``True``).
    """
    if min(extent for extent in mask.shape if extent > 1 or max(mask.shape) == 1) < _SMALLEST:
        return False
    densities = {}
    for position in (True, False):
        moved = mask if position else np.fft.fftshift(mask)
        window = [
            slice(None) if n == 1 else slice(n // 2 - max(1, n // _CENTRE), n // 2 + max(1, n // _CENTRE) + 1)
            for n in mask.shape
        ]
        densities[position] = float(moved[tuple(window)].mean())
    return densities[not centered] >= _FULLY and densities[centered] <= _SPARSELY


def _concentration(values: np.ndarray) -> float:
    """Return the largest share of the energy in the part around the centre, or around index 0."""
    return max(_parts(values))


def _parts(values: np.ndarray) -> tuple[float, float]:
    """Return the shares of the energy in 1/8 of each axis around n // 2, and around index 0."""
    energy = np.abs(values).astype(np.float64) ** 2
    extents = [max(1, n // (2 * _PART)) for n in energy.shape]
    total = float(energy.sum()) or 1.0
    rows, columns = (slice(n // 2 - extent, n // 2 + extent) for n, extent in zip(energy.shape, extents))
    at_centre = float(energy[rows, columns].sum())
    around_zero = [np.arange(-extent, extent) for extent in extents]
    at_corner = float(energy[np.ix_(*around_zero)].sum())
    return at_centre / total, at_corner / total
