"""Values of MRI files as inputs of networks, in NumPy alone; bundles contain a copy of this file.

The functions do what the tasks mri-recon and mri-sr do with new data (``i2ikd infer``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_PLANE = (-2, -1)


def scale_of(volume: np.ndarray, options: Mapping[str, Any]) -> float:
    """Return the divisor of the values of a volume: its largest magnitude, or 1.

    Args:
        volume: [slices, H, W], real or complex: images, or k-space.
        options: ``normalise`` is ``volume`` or ``none``.

    Raises:
        ValueError: the volume is all zero or not finite.
    """
    if not np.isfinite(volume).all():
        raise ValueError("expected finite values, got NaN or infinity")
    images = np.fft.ifft2(volume, norm="ortho") if options.get("kspace") else volume
    largest = float(np.float32(np.abs(images).max()))
    if largest == 0:
        raise ValueError("expected an image, got zeros only")
    return largest if options["normalise"] == "volume" else 1.0


def network_inputs(
    values: np.ndarray, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the inputs of a network for one slice.

    Args:
        values: [H, W], divided by ``scale_of``.
        options: ``kind``: ``undersampled`` or ``low-resolution``, with the options of the task.
        arrays: undersampling masks ``mask-HxW``, or ``mask``, which has precedence.

    Returns:
        float32 [C, H, W] by name: ``input``; of ``undersampled`` also ``mask`` and ``measured``.

    Raises:
        ValueError: the values do not fit the options.
    """
    if options["kind"] == "undersampled":
        return _undersampled(values, options, arrays)
    if options.get("kspace"):
        raise ValueError("expected low-resolution images, got k-space; omit --kspace")
    return {"input": np.asarray(_low_resolution(values, options)[None], np.float32)}


def image_of(output: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Return the image of an output of the network.

    Args:
        output: [C, H, W], float32.
        options: of the task.

    Returns:
        [H, W]: complex64 of two channels, float32 of one.
    """
    if len(output) == 2:
        image: np.ndarray = (output[0] + 1j * output[1]).astype(np.complex64)
        return image
    return output[0]


def _undersampled(
    values: np.ndarray, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return zero-filled image, mask, and the image of the measured k-space."""
    centered, complex_mode = options["centered"], options["mode"] == "complex"
    if options.get("kspace"):
        if options["size"] is not None and tuple(values.shape) != tuple(options["size"]):
            raise ValueError(f"expected k-space of {_text(options['size'])}, got {_text(values.shape)}")
        mask = arrays["mask"] if "mask" in arrays else _support(values)
        if mask.all():
            raise ValueError("expected an undersampled k-space, got a fully sampled one; pass its image")
        kspace = values * mask
    else:
        image = _resampled(values, options["size"])
        image = image if complex_mode else np.abs(image) if np.iscomplexobj(image) else image
        mask = _mask(image.shape, arrays)
        kspace = _fourier(image.astype(np.complex64), centered) * mask
    zero_filled = _inverse_fourier(kspace, centered)
    measured = np.stack([zero_filled.real, zero_filled.imag]) if complex_mode else zero_filled.real[None]
    image = np.abs(zero_filled)[None] if options["input"] == "magnitude" else measured
    found = {"input": image, "mask": mask[None], "measured": measured}
    return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}


def _mask(shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the mask of a slice: ``--mask``, or the one of its size."""
    mask = arrays["mask"] if "mask" in arrays else arrays.get(f"mask-{_text(shape)}")
    if mask is None:
        known = ", ".join(sorted(name.removeprefix("mask-") for name in arrays)) or "none"
        raise ValueError(f"expected slices of a size with a mask ({known}), got {_text(shape)}; pass --mask FILE.npy")
    if any(length not in (1, whole) for length, whole in zip(mask.shape, shape)) or mask.ndim != len(shape):
        raise ValueError(f"expected a mask of {_text(shape)} or of its lines, got {_text(mask.shape)}")
    return mask


def _support(kspace: np.ndarray) -> np.ndarray:
    """Return the mask of a k-space: lines where whole rows or columns are 0 and the others nearly full."""
    measured = np.asarray(kspace != 0, np.float32)
    for lines in (measured.max(1, keepdims=True), measured.max(0, keepdims=True)):
        if not lines.all() and measured.sum() > 0.9 * np.broadcast_to(lines, measured.shape).sum():
            return lines
    return measured


def _low_resolution(values: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Return the input of a super-resolution network: a low-resolution slice, or, simulated, one with less k-space."""
    magnitude = options["combine"] == "magnitude"
    if options.get("simulate"):
        image = _resampled(values, options["size"])
        image = np.abs(image) if magnitude else image
        low = _resampled(image.astype(np.complex64), _kept(image.shape, options))
        return np.abs(low if options["grid"] == "low" else _resampled(low, image.shape))
    image = np.abs(values) if magnitude and np.iscomplexobj(values) else values
    if options["grid"] == "target":
        image = _resampled(image.astype(np.complex64), _enlarged(image.shape, options))
    return np.abs(image)


def _kept(shape: tuple[int, ...], options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the size of the low-resolution image of a slice."""
    if options["factor"] is None:
        size = tuple(options["keep"])
    else:
        size = tuple(max(1, round(length / options["factor"])) for length in shape)
    if any(small > large for small, large in zip(size, shape)) or size == tuple(shape):
        raise ValueError(f"expected slices larger than {_text(size)}, got {_text(shape)}; omit --simulate")
    return size


def _enlarged(shape: tuple[int, ...], options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the size of the enlarged image of a low-resolution slice."""
    if options["factor"] is not None:
        return tuple(round(length * options["factor"]) for length in shape)
    if options["size"] is None:
        raise ValueError("the size of fully sampled slices is not known; pass them, with --simulate")
    return tuple(round(length * full / part) for length, full, part in zip(shape, options["size"], options["keep"]))


def _resampled(image: np.ndarray, size: Any) -> np.ndarray:
    """Resample a slice through k-space, which is cropped to its centre or padded with zeros; the mean is preserved."""
    if size is None:
        return image
    result = image
    for axis, target in zip(_PLANE, size):
        length = image.shape[axis]
        if target == length:
            continue
        spectrum = np.moveaxis(_fourier(result.astype(np.complex64), True, (axis,)), axis, -1)
        start = length // 2 - target // 2
        if target < length:
            spectrum = spectrum[..., start : start + target]
        else:
            spectrum = np.pad(spectrum, [(0, 0)] * (spectrum.ndim - 1) + [(-start, target - length + start)])
        result = _inverse_fourier(np.moveaxis(spectrum, -1, axis), True, (axis,)) * math.sqrt(target / length)
    return result if np.iscomplexobj(image) else result.real


def _fourier(image: np.ndarray, centered: bool, axes: tuple[int, ...] = _PLANE) -> np.ndarray:
    """Transform to k-space, orthonormal; zero frequency at index 0, or n // 2 if ``centered``."""
    if not centered:
        return np.fft.fftn(image, axes=axes, norm="ortho").astype(np.complex64)
    spectrum = np.fft.fftn(np.fft.ifftshift(image, axes), axes=axes, norm="ortho")
    return np.fft.fftshift(spectrum, axes).astype(np.complex64)


def _inverse_fourier(kspace: np.ndarray, centered: bool, axes: tuple[int, ...] = _PLANE) -> np.ndarray:
    """Transform to an image; inverse of ``_fourier``."""
    if not centered:
        return np.fft.ifftn(kspace, axes=axes, norm="ortho").astype(np.complex64)
    image = np.fft.ifftn(np.fft.ifftshift(kspace, axes), axes=axes, norm="ortho")
    return np.fft.fftshift(image, axes).astype(np.complex64)


def _text(shape: Any) -> str:
    return "x".join(str(length) for length in shape)
