"""Pictures as the page shows them: grey images with a zoomed inset, and error maps on one scale, as PNG in the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection
from dataclasses import dataclass, replace

import matplotlib
import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

from i2ikd.report import numbers
from i2ikd.report.pictures import Picture, Pictures

_LONGEST = 320
"""Pixels of the longer side in the page; larger images are averaged down, their insets are not."""

_ZOOM = 0.25
"""Sides of the inset's region, as a share of the image's."""

_COLOURS = "inferno"


@dataclass(frozen=True)
class Region:
    """The inset's region, in pixels, and the corner of the image where the inset is farthest from it."""

    top: int
    left: int
    height: int
    width: int
    shape: tuple[int, int]

    @property
    def style(self) -> str:
        """CSS of the frame around the region."""
        rows, columns = self.shape
        shares = {"top": self.top / rows, "left": self.left / columns}
        shares |= {"height": self.height / rows, "width": self.width / columns}
        return ";".join(f"{name}:{100 * share:.2f}%" for name, share in shares.items())

    @property
    def corner(self) -> str:
        """CSS classes of the inset."""
        rows, columns = self.shape
        vertical = "low" if self.top + self.height / 2 < rows / 2 else "high"
        return f"{vertical} {'right' if self.left + self.width / 2 < columns / 2 else 'left'}"

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return the region of an image [H, W]."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Tile:
    """One network's image (or a baseline's, or the target), as data URIs."""

    name: str
    score: str
    image: str
    inset: str
    error: str


@dataclass(frozen=True)
class Strip:
    """All images of one volume."""

    title: str
    region: Region
    tiles: list[Tile]


@dataclass(frozen=True)
class Gallery:
    """Everything, with the scale of the error maps."""

    strips: list[Strip]
    limit: str
    bar: str


def gallery(pictures: Pictures, baselines: Collection[str], arms: Collection[str], decimals: int, unit: str) -> Gallery:
    """Turn pictures into data URIs.

    Args:
        pictures: what to show.
        baselines: rows that are no networks; their errors do not set the scale.
        arms: the other rows to show; pictures of others are left out.
        decimals: of a score.
        unit: of a score.
    """
    shown = [_only(picture, {*baselines, *arms}) for picture in pictures]
    limit = _limit(shown, baselines)
    strips = [_strip(picture, baselines, limit, decimals, unit) for picture in shown]
    bar = _error(np.linspace(0, 1, 256)[None, :].repeat(8, axis=0), 1.0)
    return Gallery(strips, f"{limit:.2g}", bar)


def _only(picture: Picture, rows: Collection[str]) -> Picture:
    images = {row: image for row, image in picture.images.items() if row in rows}
    return replace(picture, images=images)


def _limit(pictures: Pictures, baselines: Collection[str]) -> float:
    """Return the error at the end of the colour scale: what 1 in 200 pixels of the networks' images exceeds."""
    errors = [
        np.abs(image - picture.target).ravel()
        for picture in pictures
        for row, image in picture.images.items()
        if row not in baselines
    ]
    largest = float(np.quantile(np.concatenate(errors), 0.995)) if errors else 0.0
    return largest if largest > 0 else 1.0


def _strip(picture: Picture, baselines: Collection[str], limit: float, decimals: int, unit: str) -> Strip:
    networks = {row: image for row, image in picture.images.items() if row not in baselines}
    region = _region(picture.target, list(networks.values()))
    low, high = (float(v) for v in np.quantile(picture.target, [0.001, 0.999]))
    window = (min(low, 0.0), high if high > low else low + 1.0)
    rows = [row for row in picture.images if row in baselines]
    order: list[tuple[str, np.ndarray]] = [(row, picture.images[row]) for row in rows]
    order += [("target", picture.target), *networks.items()]
    tiles = []
    for name, image in order:
        score = picture.scores.get(name)
        text = "" if score is None else f"{numbers.fixed(score, decimals)} {unit}".strip()
        error = "" if image is picture.target else _error(_smaller(np.abs(image - picture.target)), limit)
        tiles.append(Tile(name, text, _grey(_smaller(image), window), _grey(region.cut(image), window), error))
    return Strip(f"{picture.label} volume: {_volume_title(picture)}, slice {picture.slice}", region, tiles)


def _volume_title(picture: Picture) -> str:
    """Name the volume, and its subject where the volume's name does not have it already."""
    return picture.volume if picture.subject in picture.volume else f"{picture.subject}, {picture.volume}"


def _region(target: np.ndarray, images: list[np.ndarray]) -> Region:
    """Find where the networks are most wrong: the inset shows what there is to see."""
    rows, columns = target.shape
    height, width = max(1, round(rows * _ZOOM)), max(1, round(columns * _ZOOM))
    error = np.mean([np.abs(image - target) for image in images], axis=0) if images else np.abs(target)
    smooth = uniform_filter(error, size=(height, width), mode="constant")
    inside = smooth[height // 2 : rows - (height - 1) // 2, width // 2 : columns - (width - 1) // 2]
    top, left = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return Region(int(top), int(left), height, width, (rows, columns))


def _smaller(image: np.ndarray) -> np.ndarray:
    """Average whole blocks until the longer side fits the page."""
    factor = -(-max(image.shape) // _LONGEST)
    if factor == 1:
        return image
    rows, columns = (side // factor * factor for side in image.shape)
    blocks = image[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
    return blocks.mean(axis=(1, 3))


def _grey(image: np.ndarray, window: tuple[float, float]) -> str:
    low, high = window
    levels = np.clip((image - low) / (high - low), 0, 1)
    return _png(Image.fromarray(np.round(255 * levels).astype(np.uint8), mode=None))


def _error(error: np.ndarray, limit: float) -> str:
    picture = Image.fromarray(np.round(255 * np.clip(error / limit, 0, 1)).astype(np.uint8), mode=None)
    picture = picture.convert("P")
    table = matplotlib.colormaps[_COLOURS](np.arange(256), bytes=True)
    picture.putpalette(np.asarray(table)[:, :3].tobytes())
    return _png(picture)


def _png(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
