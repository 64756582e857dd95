"""Simulated heads as volumes by split: any number of subjects from a seed, with no data to download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from i2ikd import UserError
from i2ikd.errors import nearest
from i2ikd_mri.phantom_anatomy import Anatomy
from i2ikd_mri.phantom_slice import draw_phase, draw_slice
from i2ikd_mri.volumes import SPLITS, Count, position

_REVISION = 1
"""Raised whenever the same options give other pictures, so that no result of the old ones is taken for new."""
_SPACING, _SPAN, _MIDDLE = 0.035, 0.5, 0.11
"""Most distance between slices, most extent of a volume, and its mean height, in half fields of view."""


class PhantomDataset:
    """Axial slices of simulated heads, proton-density to T2 weighted.

    Scalp, skull with marrow, fluid, a folded cortex, white matter, deep nuclei, ventricles, vessels and, in some
    subjects, lesions; smooth coil shading, tissue texture, and Gaussian noise in the real and the imaginary part.
    A subject depends on the seed, its split and its number alone: adding training subjects changes no test subject.

    Args:
        train: number of training subjects.
        val: number of validation subjects.
        test: number of test subjects.
        slices: neighbouring slices a subject, about 4 mm apart and at most 55 mm in all.
        size: (height, width) in pixels; the head fills the smaller extent. Finer grids show the same anatomy sharper.
        noise: standard deviation of the noise of each part, relative to the subject's brightest noiseless pixel.
        complex_valued: whether slices have a smooth phase (complex64) or are magnitudes (float32).
        seed: whose subjects.
    """

    def __init__(
        self,
        train: Count = 24,
        val: Count = 4,
        test: Count = 8,
        slices: Count = 8,
        size: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] = (128, 128),
        noise: Annotated[float, Field(ge=0, le=1)] = 0.01,
        complex_valued: bool = False,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self._subjects = {"train": train, "val": val, "test": test}
        self._slices = slices
        self._size = size
        self._noise = noise
        self._complex_valued = complex_valued
        self._seed = seed
        self._volumes: dict[str, list[PhantomVolume]] = {}

    def volumes(self, split: str) -> Sequence[PhantomVolume]:
        """Return the subjects of ``train``, ``val`` or ``test``; each is drawn when its first slice is read.

        Raises:
            UserError: there is no such split.
        """
        if split not in SPLITS:
            raise UserError(f"there is no split {split!r}; {nearest(split, SPLITS)}")
        if split not in self._volumes:
            self._volumes[split] = [
                PhantomVolume(
                    f"phantom-{split}-{number:03d}",
                    (self._seed, SPLITS.index(split), number),
                    self._slices,
                    self._size,
                    self._noise,
                    self._complex_valued,
                )
                for number in range(self._subjects[split])
            ]
        return self._volumes[split]

    def identity(self) -> dict[str, object]:
        """Return the options and the revision of the simulation."""
        return {
            "dataset": "phantom",
            "revision": _REVISION,
            **self._subjects,
            "slices": self._slices,
            "size": list(self._size),
            "noise": self._noise,
            "complex_valued": self._complex_valued,
            "seed": self._seed,
        }


class PhantomVolume:
    """One simulated subject, drawn once and kept."""

    def __init__(
        self,
        name: str,
        seed: tuple[int, ...],
        slices: int,
        size: tuple[int, int],
        noise: float,
        complex_valued: bool = False,
    ) -> None:
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
        """Return ``image`` [H, W]: float32 in 0..1, or complex64 of magnitude 0..1."""
        index = position(index, len(self))
        if self._images is None:
            self._images = self._draw()
        return {"image": self._images[index]}

    def _draw(self) -> np.ndarray:
        generator = np.random.default_rng(self._seed)
        anatomy = Anatomy.draw(generator)
        spacing = min(_SPACING, _SPAN / max(1, self._length - 1))
        heights = _MIDDLE + spacing * (np.arange(self._length) - (self._length - 1) / 2)
        heights += generator.uniform(-0.03, 0.03)
        images = np.stack([draw_slice(anatomy, float(z), self._size) for z in heights])
        images /= images.max()
        noise = self._noise * generator.standard_normal((2, *images.shape), dtype=np.float32)
        measured = images + noise[0] + np.complex64(1j) * noise[1]
        measured /= np.abs(measured).max()
        if self._complex_valued:  # the noise is as likely in any direction, so it may be turned with the image
            phase = np.stack([draw_phase(anatomy, float(z), self._size) for z in heights])
            kept = (measured * np.exp(1j * phase)).astype(np.complex64)
        else:
            kept = np.abs(measured).astype(np.float32)
        kept.setflags(write=False)
        return kept
