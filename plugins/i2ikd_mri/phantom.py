"""Dataset of simulated heads: any number of subjects from a seed, without a download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from i2ikd import UserError
from i2ikd.errors import nearest
from i2ikd.limits import require_memory
from i2ikd_mri.phantom_anatomy import Anatomy
from i2ikd_mri.phantom_coils import coil_kspace
from i2ikd_mri.phantom_slice import draw_phase, draw_slice
from i2ikd_mri.volumes import SPLITS, position

_REVISION = 1
"""Incremented when the same options generate other images, so that results of the two are never mixed."""
_SPACING, _SPAN, _MIDDLE = 0.035, 0.5, 0.11
"""Largest distance between slices, largest extent of a volume, and its mean height, in half fields of view."""


_MOST_SUBJECTS = 100_000


class PhantomDataset:
    """Axial slices of simulated heads, proton-density to T2 weighted.

    The simulation has scalp, skull with marrow, fluid, a folded cortex, white matter, deep nuclei, ventricles, vessels
    and, in some subjects, lesions; smooth coil shading, tissue texture, and Gaussian noise in the real and the
    imaginary part.
    A subject depends only on the seed, its split and its number: adding training subjects changes no test subject.

    Args:
        train: number of training subjects, at least 1.
        val: number of validation subjects, at least 1.
        test: number of test subjects, at least 1.
        slices: neighbouring slices of a subject, about 4 mm apart and at most 55 mm in total.
        size: (height, width) in pixels; the head fills the smaller extent. Finer grids show the same anatomy sharper.
        noise: standard deviation of the noise of each part, 0..1, relative to the brightest noiseless pixel of the
            subject.
        complex_valued: whether slices have a smooth phase (complex64) or are magnitudes (float32).
        seed: seed of all subjects, at least 0.
        coils: number of receive coils. More than 1: slices are fully sampled k-space, zero frequency at n // 2, of
            heads with phase, for the task ``mri-multicoil``.
    """

    def __init__(
        self,
        train: PositiveInt = 24,
        val: PositiveInt = 4,
        test: PositiveInt = 8,
        slices: PositiveInt = 8,
        size: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] = (128, 128),
        noise: Annotated[float, Field(ge=0, le=1)] = 0.01,
        complex_valued: bool = False,
        seed: Annotated[int, Field(ge=0)] = 0,
        coils: PositiveInt = 1,
    ) -> None:
        subjects = train + val + test
        given = f"dataset 'phantom': {subjects} subjects, slices = {slices}, size = {list(size)}"
        # a slice is kept as float64 real and imaginary parts; drawing one volume takes about 20 arrays of its size
        require_memory(given, 16 * slices * size[0] * size[1] * max(subjects, 20), "slices")
        if subjects > _MOST_SUBJECTS:
            raise UserError(f"{given}: expected at most {_MOST_SUBJECTS:,} subjects; each is an object in memory")
        self._coils = coils
        self._subjects = {"train": train, "val": val, "test": test}
        self._slices = slices
        self._size = size
        self._noise = noise
        self._complex_valued = complex_valued
        self._seed = seed
        self._volumes: dict[str, list[PhantomVolume]] = {}

    def volumes(self, split: str) -> Sequence[PhantomVolume]:
        """Return the subjects of a split; each is simulated when its first slice is read.

        Args:
            split: ``train``, ``val`` or ``test``.

        Raises:
            UserError: the split does not exist.
        """
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}; {nearest(split, SPLITS)}")
        if split not in self._volumes:
            self._volumes[split] = [
                PhantomVolume(
                    f"phantom-{split}-{number:03d}",
                    (self._seed, SPLITS.index(split), number),
                    self._slices,
                    self._size,
                    self._noise,
                    self._complex_valued,
                    self._coils,
                )
                for number in range(self._subjects[split])
            ]
        return self._volumes[split]

    def identity(self) -> dict[str, object]:
        """Return revision and options without the number of test subjects; part of the digest of a run."""
        return {
            "dataset": "phantom",
            "revision": _REVISION,
            **{split: count for split, count in self._subjects.items() if split != "test"},
            "slices": self._slices,
            "size": list(self._size),
            "noise": self._noise,
            "complex_valued": self._complex_valued,
            "seed": self._seed,
            **({"coils": self._coils} if self._coils > 1 else {}),
        }

    def test_identity(self) -> dict[str, object]:
        """Return the number of test subjects, on which scores alone depend."""
        return {"test": self._subjects["test"]}


class PhantomVolume:
    """Simulated subject, generated on first access and cached.

    Args:
        name: name of the volume.
        seed: entropy of the random generator (seed, split, number).
        slices: number of slices.
        size: (height, width) in pixels.
        noise: standard deviation of the noise; see ``PhantomDataset``.
        complex_valued: whether slices are complex64 or float32.
        coils: number of coils; more than 1: slices are k-space.
    """

    def __init__(
        self,
        name: str,
        seed: tuple[int, ...],
        slices: int,
        size: tuple[int, int],
        noise: float,
        complex_valued: bool = False,
        coils: int = 1,
    ) -> None:
        self._coils = coils
        self.name = name
        self._seed = seed
        self._length = slices
        self._size = size
        self._noise = noise
        self._complex_valued = complex_valued
        self._images: np.ndarray | None = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W]: float32 in 0..1, or complex64 with magnitude in 0..1.

        With several coils, return ``kspace`` [coils, H, W] complex64 of an image with magnitude in 0..1.

        Args:
            index: index of the slice.

        Raises:
            IndexError: the index is out of range.
        """
        index = position(index, len(self))
        if self._images is None:
            self._images = self._draw()
        return {"image" if self._coils == 1 else "kspace": self._images[index]}

    def _draw(self) -> np.ndarray:
        """Generate all slices [slices, H, W], or k-space [slices, coils, H, W], read-only."""
        generator = np.random.default_rng(self._seed)
        anatomy = Anatomy.draw(generator)
        spacing = min(_SPACING, _SPAN / max(1, self._length - 1))
        heights = _MIDDLE + spacing * (np.arange(self._length) - (self._length - 1) / 2)
        heights += generator.uniform(-0.03, 0.03)
        images = np.stack([draw_slice(anatomy, float(z), self._size) for z in heights])
        images /= images.max()
        if self._coils > 1:
            phase = np.stack([draw_phase(anatomy, float(z), self._size) for z in heights])
            kspace = coil_kspace(images * np.exp(1j * phase), self._coils, self._noise, generator)
            kspace.setflags(write=False)
            return kspace
        noise = self._noise * generator.standard_normal((2, *images.shape), dtype=np.float32)
        measured = images + noise[0] + np.complex64(1j) * noise[1]
        measured /= np.abs(measured).max()
        if self._complex_valued:
            # The noise is isotropic in the complex plane, so that a rotation keeps its distribution.
            phase = np.stack([draw_phase(anatomy, float(z), self._size) for z in heights])
            result = (measured * np.exp(1j * phase)).astype(np.complex64)
        else:
            result = np.abs(measured).astype(np.float32)
        result.setflags(write=False)
        return result
