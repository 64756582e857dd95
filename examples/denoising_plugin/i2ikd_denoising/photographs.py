"""Dataset of crops of the photographs in the wheel of scikit-image; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import as_file, files
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from i2ikd import UserError
from i2ikd_denoising.reader import read_grey

SPLITS = {
    "train": (
        "astronaut.png",
        "brick.png",
        "camera.png",
        "clock_motion.png",
        "grass.png",
        "gravel.png",
        "motorcycle_left.png",
        "text.png",
    ),
    "val": ("coffee.png", "moon.png"),
    "test": ("chelsea.png", "coins.png", "page.png", "rocket.jpg"),
}
"""Files of each split; all crops of a photograph are in one split."""


@cache
def shipped(file: str) -> np.ndarray:
    """Read a photograph in the wheel of scikit-image.

    The installed file is opened directly, since the functions of scikit-image download files that are missing.

    Args:
        file: name of the file.

    Returns:
        [H, W], float32 in 0..1.

    Raises:
        UserError: the installed scikit-image does not contain the file.
    """
    resource = files("skimage.data").joinpath(file)
    if not resource.is_file():
        raise UserError(f"photographs: the installed scikit-image does not ship {file}; install another version of it")
    with as_file(resource) as path:
        return read_grey(path)


class Crops:
    """Volume of one photograph, whose slices are crops on a regular grid.

    Args:
        file: name of the file of the photograph.
        crop: side of the crops in pixels.
        crops: greatest number of crops.
    """

    def __init__(self, file: str, crop: int, crops: int) -> None:
        self.name = file.partition(".")[0]
        self._file = file
        self._crop = crop
        self._crops = crops
        self._corners: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._places())

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [crop, crop], float32 in 0..1."""
        top, left = self._places()[index]
        return {"image": shipped(self._file)[top : top + self._crop, left : left + self._crop]}

    def _places(self) -> list[tuple[int, int]]:
        """Return the corners of evenly spaced crops that do not overlap."""
        if not self._corners:
            height, width = shipped(self._file).shape
            corners = [
                (top, left)
                for top in range(0, height - self._crop + 1, self._crop)
                for left in range(0, width - self._crop + 1, self._crop)
            ]
            if not corners:
                raise UserError(
                    f"photographs: {self.name} has {height}x{width} pixels, too few for a crop of {self._crop}; set "
                    f"crop to at most {min(height, width)}"
                )
            chosen = np.linspace(0, len(corners) - 1, min(self._crops, len(corners))).round().astype(int)
            self._corners = [corners[place] for place in chosen]
        return self._corners


class Photographs:
    """Greyscale photographs of everyday scenes, in 0..1.

    Args:
        crop: side of the crops in pixels, at least 8.
        crops: greatest number of crops of a photograph.
        photographs: greatest number of photographs of each split, for quick runs; ``None``: all of them.
    """

    def __init__(
        self,
        crop: Annotated[int, Field(ge=8)] = 64,
        crops: PositiveInt = 12,
        photographs: PositiveInt | None = None,
    ) -> None:
        self._crop = crop
        self._crops = crops
        self._limit = photographs

    def volumes(self, split: str) -> Sequence[Crops]:
        """Return the photographs of a split.

        Args:
            split: ``train``, ``val`` or ``test``.

        Raises:
            UserError: the split does not exist.
        """
        if split not in SPLITS:
            raise UserError(f"photographs: unknown split {split!r}; choose from {', '.join(SPLITS)}")
        return [Crops(file, self._crop, self._crops) for file in SPLITS[split][: self._limit]]

    def identity(self) -> dict[str, object]:
        """Return the photographs of each split and the options of the crops; part of the digest of a run."""
        names = {split: [volume.name for volume in self.volumes(split)] for split in SPLITS}
        return {"photographs": names, "crop": self._crop, "crops": self._crops}
