"""Rendering of one slice of a simulated subject, with edges about one pixel wide, as in band-limited acquisition."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from i2ikd_mri.phantom_anatomy import Anatomy, Blob

Segment = tuple[tuple[float, float], tuple[float, float], float]
"""Two end points (x, y) and a radius."""


def draw_slice(anatomy: Anatomy, z: float, size: tuple[int, int]) -> np.ndarray:
    """Render the noiseless magnitude of a slice.

    Row 0 is at the forehead. The head fills the smaller of the two fields of view.

    Args:
        anatomy: the subject.
        z: height of the slice in half fields of view.
        size: (H, W) in pixels.

    Returns:
        [H, W] float32: 0 in air, about 1 at the brightest pixel.
    """
    x, y, pixel = _grid(size)
    x, y = _place(anatomy, x, y, z)
    depth = _depth(anatomy, x, y, z)
    tissues = anatomy.tissues
    edge = 1.3 * pixel

    image = tissues.skin * _inside(depth, edge)
    image = _paint(image, tissues.fat, _inside(depth - 0.3 * anatomy.scalp, edge))
    under_scalp = depth - anatomy.scalp
    image = _paint(image, tissues.skull, _inside(under_scalp, edge))
    diploe = 0.22 * anatomy.skull - np.abs(under_scalp - 0.5 * anatomy.skull)
    image = _paint(image, tissues.marrow, _inside(diploe, edge))
    brain = under_scalp - anatomy.skull
    image = _paint(image, tissues.fluid, _inside(brain, edge))
    image = _draw_brain(anatomy, image, x, y, z, brain - anatomy.rim, edge)
    for blob in anatomy.vessels:
        image = _paint_blob(image, blob, x, y, z, edge)
    image = _draw_sinus(anatomy, image, x, y, brain, edge)

    inside = _inside(depth, edge)
    image *= 1 + 0.025 * anatomy.texture(x, y, z) * inside
    image *= np.exp(0.10 * anatomy.shading(x, y, z))
    return ndimage.gaussian_filter(image, 0.3).astype(np.float32)


def draw_phase(anatomy: Anatomy, z: float, size: tuple[int, int]) -> np.ndarray:
    """Compute the smooth phase of a slice.

    Args:
        anatomy: the subject.
        z: height of the slice in half fields of view.
        size: (H, W) in pixels.

    Returns:
        [H, W] float32, in radians.
    """
    x, y, _ = _grid(size)
    return 0.9 * anatomy.phase(x, y, z).astype(np.float32)


def _grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return x [H, W], y [H, W] and the side of a pixel, in half fields of view."""
    height, width = size
    pixel = 1.0 / min(height / 2, width / 2 / 0.84)
    rows = ((height - 1) / 2 - np.arange(height, dtype=np.float32)) * pixel
    columns = (np.arange(width, dtype=np.float32) - (width - 1) / 2) * pixel
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return x.astype(np.float32), y.astype(np.float32), pixel


def _place(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, z: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotate, shift and slightly warp the coordinates, so that no subject is symmetric."""
    x, y = x - anatomy.shift[0], y - anatomy.shift[1]
    cosine, sine = np.cos(anatomy.rotation), np.sin(anatomy.rotation)
    x, y = cosine * x + sine * y, cosine * y - sine * x
    bend = 0.016
    return x + bend * anatomy.warp[0](x, y, z), y + bend * anatomy.warp[1](x, y, z)


def _depth(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """Return the distance inwards from the surface of the head, along the ray from the centre; negative in air."""
    taper = np.sqrt(max(0.05, 1 - ((z - 0.02) / 0.85) ** 2))
    radius = np.sqrt(x * x + y * y) + 1e-6
    along = y / anatomy.half_length
    across = x / (anatomy.half_width * (1 - anatomy.egg * along))
    level = np.sqrt(across * across + along * along) / taper
    angle = np.arctan2(y, x)
    for order, (amplitude, phase) in enumerate(anatomy.harmonics, start=2):
        level *= 1 + amplitude * np.cos(order * angle + phase)
    return radius * (1 / np.maximum(level, 1e-6) - 1)


def _draw_brain(
    anatomy: Anatomy, image: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, depth: np.ndarray, edge: float
) -> np.ndarray:
    """Paint grey matter, white matter, sulci, nuclei and ventricles; ``depth`` is measured from the pia."""
    tissues = anatomy.tissues
    sulcus, width = _sulci(anatomy, x, y, z, depth, edge / 1.3)
    fissure, fissure_width = _fissures(anatomy, x, y, z)
    cortex = np.minimum(np.minimum(depth, sulcus - 0.5 * width), fissure)
    image = _paint(image, tissues.grey, _inside(depth, edge))
    image = _paint(image, tissues.white, _inside(cortex - anatomy.cortex, edge))
    for blob in (*anatomy.nuclei, *anatomy.lesions):
        image = _paint_blob(image, blob, x, y, z, edge)
    within = _inside(depth, edge)
    image = _paint(image, tissues.fluid, within * _inside(width - sulcus, edge) * np.minimum(1, width / (0.3 * edge)))
    image = _paint(image, tissues.fluid, within * _inside(fissure_width - fissure, edge))
    return _paint(image, tissues.fluid, within * _inside(_ventricles(anatomy, x, y, z), edge))


def _sulci(
    anatomy: Anatomy, x: np.ndarray, y: np.ndarray, z: float, depth: np.ndarray, pixel: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance to the nearest sulcus, and the half width of its fluid.

    Sulci are the zero level of a random function that varies fast with the angle and slowly with the radius; they end
    at a random depth. The value divided by its slope is the distance, to first order.
    """
    angle, radius = np.arctan2(y, x), np.sqrt(x * x + y * y)
    folds = anatomy.folds(angle, radius, z)
    slope_rows, slope_columns = np.gradient(folds, pixel)
    seam = np.hypot(slope_rows, slope_columns)
    distance = np.abs(folds) / (seam + 2.0)
    reach = np.clip(0.20 + 0.07 * anatomy.fold_depth(angle, radius, z), 0.06, 0.34)
    beyond = np.maximum(depth - reach, 0)
    width = anatomy.sulcus * np.clip(1 - depth / reach, 0, 1)
    return np.sqrt(distance * distance + beyond * beyond), width


def _fissures(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, z: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance to the nearest of the longitudinal and lateral fissures, and the half width of its fluid."""
    rise = float(np.clip((z - 0.22) / 0.14, 0, 1))  # above the corpus callosum the hemispheres are separate
    side = np.abs(x)
    front, back = 0.36 * (1 - rise), -0.40 * (1 - rise)
    middle = np.minimum(_to_segment(x, y, ((0, front), (0, 1), 0)), _to_segment(x, y, ((0, back), (0, -1), 0)))
    deep = 0.03 * float(np.clip((z - 0.12) / 0.1, 0, 1))
    opening, knee = (0.66, 0.13 - deep), (0.42 + 2 * deep, 0.10)
    lateral = _to_segment(side, y, (opening, knee, 0))
    if z < 0.2:
        for end in ((0.36, 0.25), (0.385, -0.06)):
            lateral = np.minimum(lateral, _to_segment(side, y, (knee, end, 0)))
    width = np.where(lateral < middle, 0.9 * anatomy.sulcus, 0.7 * anatomy.sulcus)
    return np.minimum(middle, lateral), width


def _ventricles(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """Return the depth inside the two lateral ventricles and, in low slices, the third ventricle in the midline."""
    up = float(np.clip(z / 0.28, 0, 1))
    size = anatomy.ventricle * float(np.sqrt(max(0.0, 1 - max(0.0, (z - 0.12) / 0.24) ** 2)))
    body = float(np.clip(2.2 * up - 0.6, 0, 1))
    chambers: list[tuple[Segment, float]] = [
        (((0.025 + 0.03 * up, 0.10 - 0.08 * up), (0.115, 0.275 - 0.03 * up), 0.034 * size), 0.45),
        (((0.115, 0.275 - 0.03 * up), (0.165, 0.235), 0.015 * size), 0.3),
        (((0.07 + 0.02 * up, 0.12), (0.115, -0.22), 0.030 * size * body), 1.0),
        (((0.145 - 0.02 * up, -0.20), (0.225 - 0.05 * up, -0.33), 0.048 * size * (1 - 0.5 * up)), 0.75),
        (((0.225 - 0.05 * up, -0.33), (0.19 - 0.05 * up, -0.47), 0.036 * size * (1 - 0.8 * up)), 0.2),
        (((0.0, 0.05), (0.0, -0.13), 0.013 * anatomy.ventricle * (1 - 1.8 * up)), 1.0),
    ]
    side = np.abs(x)
    inside = np.full_like(x, -1.0)
    for segment, taper in chambers:
        if segment[2] > 0.004:
            inside = _round_union(inside, _to_taper(side, y, segment, taper), 0.02)
    return inside


def _to_taper(x: np.ndarray, y: np.ndarray, segment: Segment, taper: float) -> np.ndarray:
    """Return the depth inside a rounded wedge whose radius is scaled by ``taper`` at the second end."""
    (ax, ay), (bx, by), radius = segment
    dx, dy = bx - ax, by - ay
    along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
    return radius * (1 - (1 - taper) * along) - np.hypot(x - ax - along * dx, y - ay - along * dy)


def _round_union(one: np.ndarray, other: np.ndarray, fillet: float) -> np.ndarray:
    """Return the depth inside the union of two shapes, with the notch between them filled."""
    overlap = np.maximum(fillet - np.abs(one - other), 0)
    return np.maximum(one, other) + overlap * overlap / (4 * fillet)


def _draw_sinus(
    anatomy: Anatomy, image: np.ndarray, x: np.ndarray, y: np.ndarray, brain: np.ndarray, edge: float
) -> np.ndarray:
    """Paint the sagittal sinus, a dark wedge in the midline at the back, under the skull."""
    wedge = 0.028 - np.abs(x) - 0.45 * np.maximum(brain, 0)
    share = _inside(wedge, edge) * _inside(brain, edge) * (y < 0)
    return _paint(image, anatomy.tissues.vessel, share)


def _to_segment(x: np.ndarray, y: np.ndarray, segment: Segment) -> np.ndarray:
    """Return the distance to the straight line between the two ends."""
    return -_to_taper(x, y, (segment[0], segment[1], 0.0), 1.0)


def _paint_blob(image: np.ndarray, blob: Blob, x: np.ndarray, y: np.ndarray, z: float, edge: float) -> np.ndarray:
    """Paint an ellipsoid in place, changing only the pixels around it."""
    above = (z - blob.centre[2]) / blob.axes[2]
    if abs(above) >= 1:
        return image
    shrink = np.sqrt(1 - above * above)
    a, b = shrink * blob.axes[0], shrink * blob.axes[1]
    x, y = x - blob.centre[0], y - blob.centre[1]
    near = np.maximum(np.abs(x), np.abs(y)) < max(a, b) + edge
    x, y = x[near], y[near]
    cosine, sine = np.cos(blob.tilt), np.sin(blob.tilt)
    along, across = (cosine * x + sine * y) / a, (cosine * y - sine * x) / b
    level = np.sqrt(along * along + across * across) + 1e-6
    slope = np.sqrt((along / a) ** 2 + (across / b) ** 2) + 1e-6
    image[near] = _paint(image[near], blob.value, _inside(level * (1 - level) / slope, edge))
    return image


def _inside(distance: np.ndarray, edge: float) -> np.ndarray:
    """Return the share of a pixel that is inside: 0 at ``-edge / 2``, 1 at ``edge / 2``, smooth between."""
    share = np.clip(distance / edge + 0.5, 0, 1)
    return share * share * (3 - 2 * share)


def _paint(image: np.ndarray, value: float, share: np.ndarray) -> np.ndarray:
    """Blend ``value`` into an image with the weights ``share`` (0..1)."""
    return image + share * (value - image)
