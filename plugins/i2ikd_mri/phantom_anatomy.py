"""Simulated subject: random dimensions of a head, and positions of its structures.

Lengths are in half fields of view (about 110 mm): x to the right, y to the front, z upwards; the centre is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from i2ikd_mri.phantom_fields import SmoothField, disc_field, polar_field

Points = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Blob:
    """Ellipsoid of one intensity.

    Attributes:
        centre: (x, y, z).
        axes: half axes (x, y, z).
        tilt: rotation in the slice, in radians.
        value: intensity, about 0..1.
    """

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    tilt: float
    value: float


@dataclass(frozen=True)
class Tissues:
    """Intensities, about 0..1, of a proton-density to T2 weighted image before the shading by the receive coil."""

    skin: float
    fat: float
    skull: float
    marrow: float
    fluid: float
    grey: float
    white: float
    nucleus: float
    vessel: float


@dataclass(frozen=True)
class Anatomy:
    """Random parameters of a subject, without the measurement noise."""

    half_width: float
    half_length: float
    egg: float
    """Relative difference in width between the back and the front of the head."""
    harmonics: np.ndarray
    """[K, 2] amplitude and phase of the deviations of the outline from an egg shape."""
    rotation: float
    shift: tuple[float, float]
    scalp: float
    skull: float
    rim: float
    """Thickness of the fluid between skull and brain."""
    cortex: float
    sulcus: float
    """Half width of a sulcus at the brain's surface."""
    ventricle: float
    """Radius factor of the ventricles."""
    tissues: Tissues
    folds: SmoothField
    fold_depth: SmoothField
    warp: tuple[SmoothField, SmoothField]
    texture: SmoothField
    shading: SmoothField
    phase: SmoothField
    nuclei: tuple[Blob, ...]
    lesions: tuple[Blob, ...]
    vessels: tuple[Blob, ...]

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Anatomy:
        """Draw the parameters of a subject.

        Args:
            generator: source of randomness; its state determines the subject.
        """
        tissues = _tissues(generator)
        return cls(
            half_width=generator.uniform(0.66, 0.73),
            half_length=generator.uniform(0.84, 0.90),
            egg=generator.uniform(0.04, 0.14),
            harmonics=np.stack([generator.normal(0, [0.006, 0.005, 0.002, 0.001]), generator.uniform(0, 6.3, 4)], 1),
            rotation=generator.normal(0, 0.06),
            shift=(generator.normal(0, 0.02), generator.normal(0, 0.02)),
            scalp=generator.uniform(0.035, 0.06),
            skull=generator.uniform(0.05, 0.075),
            rim=generator.uniform(0.008, 0.028),
            cortex=generator.uniform(0.026, 0.034),
            sulcus=generator.uniform(0.006, 0.016),
            ventricle=generator.uniform(0.75, 1.35),
            tissues=tissues,
            folds=polar_field(generator, angular=(9.0, 19.0), radial=3.0, height=0.16),
            fold_depth=polar_field(generator, angular=(2.0, 9.0), radial=0.5, height=0.2),
            warp=(disc_field(generator, 0.22, 0.25), disc_field(generator, 0.22, 0.25)),
            texture=disc_field(generator, 0.035, 0.1),
            shading=disc_field(generator, 0.9, 0.9),
            phase=disc_field(generator, 0.5, 0.6),
            nuclei=tuple(_nuclei(generator, tissues)),
            lesions=tuple(_lesions(generator, tissues)),
            vessels=tuple(_vessels(generator, tissues)),
        )


def _tissues(generator: np.random.Generator) -> Tissues:
    """Draw the intensities of a subject."""
    white = generator.uniform(0.38, 0.50)
    grey = white + generator.uniform(0.14, 0.22)
    return Tissues(
        skin=generator.uniform(0.4, 0.6),
        fat=generator.uniform(0.6, 0.95),
        skull=generator.uniform(0.02, 0.06),
        marrow=generator.uniform(0.15, 0.4),
        fluid=generator.uniform(0.8, 0.97),
        grey=grey,
        white=white,
        nucleus=white + 0.65 * (grey - white),
        vessel=generator.uniform(0.05, 0.15),
    )


def _nuclei(generator: np.random.Generator, tissues: Tissues) -> list[Blob]:
    """Draw thalamus, putamen, pallidum and caudate head, slightly different on the two sides."""
    pallidum = tissues.white - 0.06
    table = [
        ((0.105, -0.09, 0.06), (0.075, 0.110, 0.15), -0.45, tissues.nucleus),
        ((0.265, 0.065, 0.05), (0.045, 0.140, 0.16), -0.20, tissues.nucleus),
        ((0.205, 0.050, 0.02), (0.032, 0.085, 0.11), -0.30, pallidum),
        ((0.130, 0.185, 0.12), (0.034, 0.075, 0.20), -0.30, tissues.nucleus),
    ]
    blobs = []
    for (x, y, z), axes, tilt, value in table:
        for side in (-1, 1):
            centre = (side * (x + generator.normal(0, 0.006)), y + generator.normal(0, 0.01), z)
            scaled = tuple(a * generator.uniform(0.9, 1.1) for a in axes)
            blobs.append(Blob(centre, (scaled[0], scaled[1], scaled[2]), side * tilt, value))
    return blobs


def _lesions(generator: np.random.Generator, tissues: Tissues) -> list[Blob]:
    """Draw bright spots in the white matter around the ventricles, in 40 % of the subjects."""
    blobs = []
    for _ in range(int(generator.poisson(6)) if generator.random() < 0.4 else 0):
        side = generator.choice([-1.0, 1.0])
        centre = (side * generator.uniform(0.15, 0.34), generator.uniform(-0.38, 0.36), generator.uniform(-0.1, 0.4))
        size = generator.uniform(0.012, 0.04, 3)
        blobs.append(Blob(centre, (size[0], size[1], size[2] + 0.02), generator.uniform(0, 3.1), 0.85 * tissues.fluid))
    return blobs


def _vessels(generator: np.random.Generator, tissues: Tissues) -> list[Blob]:
    """Draw vessels in cross-section: flow voids at the midline, in the lateral fissures and in the white matter."""
    blobs = []
    for _ in range(int(generator.integers(14, 26))):
        region = generator.random()
        side = generator.choice([-1.0, 1.0])
        if region < 0.25:
            x, y = generator.normal(0, 0.012), generator.choice([0.45, -0.5]) + generator.normal(0, 0.07)
        elif region < 0.7:
            x, y = side * generator.uniform(0.33, 0.5), generator.uniform(-0.1, 0.28)
        else:
            x, y = side * generator.uniform(0.1, 0.4), generator.uniform(-0.4, 0.4)
        radius = generator.uniform(0.006, 0.014)
        centre = (float(x), float(y), generator.uniform(-0.15, 0.4))
        blobs.append(
            Blob(centre, (radius, radius * generator.uniform(1, 1.8), 0.12), generator.uniform(0, 3.1), tissues.vessel)
        )
    return blobs
