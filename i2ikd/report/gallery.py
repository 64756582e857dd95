"""Image gallery of the page: images with a magnified inset and error maps on one scale, as PNG data URIs."""

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
"""Longest side of an embedded image in pixels; larger images are block-averaged, their insets are not."""

_ZOOM = 0.25
"""Height and width of the inset's region as a fraction of the image's."""

_COLOURS = "inferno"
_COLOUR_CHANNELS = 3


@dataclass(frozen=True)
class Region:
    """Image region magnified in the inset.

    Attributes:
        top: first row, in pixels.
        left: first column, in pixels.
        height: number of rows.
        width: number of columns.
        shape: rows and columns of the whole image.
    """

    top: int
    left: int
    height: int
    width: int
    shape: tuple[int, int]

    @property
    def style(self) -> str:
        """CSS declarations that place the frame around the region."""
        rows, columns = self.shape
        shares = {"top": self.top / rows, "left": self.left / columns}
        shares |= {"height": self.height / rows, "width": self.width / columns}
        return ";".join(f"{name}:{100 * share:.2f}%" for name, share in shares.items())

    @property
    def corner(self) -> str:
        """CSS classes of the inset: the corner of the image that is farthest from the region."""
        rows, columns = self.shape
        vertical = "low" if self.top + self.height / 2 < rows / 2 else "high"
        return f"{vertical} {'right' if self.left + self.width / 2 < columns / 2 else 'left'}"

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Crop an image to the region.

        Args:
            image: [..., H, W], of ``shape``.

        Returns:
            [..., height, width], a view.
        """
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Tile:
    """Image of one network, a baseline or the target, as data URIs.

    Attributes:
        name: row of the table, or ``target``.
        score: formatted score of the whole volume with its unit; empty without one.
        image: the image, grey or in colours.
        inset: the magnified region.
        error: the error map; empty for the target.
    """

    name: str
    score: str
    image: str
    inset: str
    error: str


@dataclass(frozen=True)
class Strip:
    """Images of one volume.

    Attributes:
        title: heading with volume and slice.
        region: the region magnified in every inset.
        tiles: baselines, target, networks.
        window: values shown black and white, formatted; the same for all tiles.
    """

    title: str
    region: Region
    tiles: list[Tile]
    window: str


@dataclass(frozen=True)
class Gallery:
    """All strips, with the scale of the error maps.

    Attributes:
        strips: one per volume.
        limit: formatted error at the upper end of the colour scale.
        bar: colour bar, as a data URI.
    """

    strips: list[Strip]
    limit: str
    bar: str


def gallery(pictures: Pictures, baselines: Collection[str], arms: Collection[str], decimals: int, unit: str) -> Gallery:
    """Render pictures as data URIs.

    Args:
        pictures: the images to render.
        baselines: rows that are not networks; the colour scale does not depend on their errors.
        arms: the other rows to include; images of further rows are omitted.
        decimals: decimals of a score.
        unit: unit of a score.

    Returns:
        The rendered images; error maps share one scale, from 0 to the 99.5 % quantile of the networks' errors.
    """
    shown = [_only(picture, {*baselines, *arms}) for picture in pictures]
    limit = _limit(shown, baselines)
    strips = [_strip(picture, baselines, limit, decimals, unit) for picture in shown]
    bar = _error(np.linspace(0, 1, 256)[None, :].repeat(8, axis=0), 1.0)
    return Gallery(strips, f"{limit:.2g}", bar)


def _only(picture: Picture, rows: Collection[str]) -> Picture:
    """Return the picture with the images of ``rows`` only."""
    images = {row: image for row, image in picture.images.items() if row in rows}
    return replace(picture, images=images)


def _limit(pictures: Pictures, baselines: Collection[str]) -> float:
    """Return the upper end of the colour scale: the 99.5 % quantile of the networks' absolute errors."""
    errors = [
        _difference(image, picture.target).ravel()
        for picture in pictures
        for row, image in picture.images.items()
        if row not in baselines
    ]
    largest = float(np.quantile(np.concatenate(errors), 0.995)) if errors else 0.0
    return largest if largest > 0 else 1.0


def _strip(picture: Picture, baselines: Collection[str], limit: float, decimals: int, unit: str) -> Strip:
    """Render the images of one volume on one scale, from min(0, 0.1 %) to the 99.9 % quantile of the target."""
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
        error = "" if image is picture.target else _error(_smaller(_difference(image, picture.target)), limit)
        tiles.append(Tile(name, text, _levels(_smaller(image), window), _levels(region.cut(image), window), error))
    title = f"{picture.label} volume: {_volume_title(picture)}, slice {picture.slice}"
    if picture.target.ndim == 3 and len(picture.target) != _COLOUR_CHANNELS:
        title += f", mean of {len(picture.target)} channels"
    return Strip(title, region, tiles, f"{window[0]:.3g} to {window[1]:.3g}")


def _volume_title(picture: Picture) -> str:
    """Name the volume, and its subject where the volume's name does not have it already."""
    return picture.volume if picture.subject in picture.volume else f"{picture.subject}, {picture.volume}"


def _region(target: np.ndarray, images: list[np.ndarray]) -> Region:
    """Return the window with the largest mean absolute error over the networks."""
    rows, columns = target.shape[-2:]
    height, width = max(1, round(rows * _ZOOM)), max(1, round(columns * _ZOOM))
    compared = images or [np.zeros_like(target)]
    error = np.mean([_difference(image, target) for image in compared], axis=0)
    smooth = uniform_filter(error, size=(height, width), mode="constant")
    valid = smooth[height // 2 : rows - (height - 1) // 2, width // 2 : columns - (width - 1) // 2]
    top, left = np.unravel_index(int(np.argmax(valid)), valid.shape)
    return Region(int(top), int(left), height, width, (rows, columns))


def _smaller(image: np.ndarray) -> np.ndarray:
    """Average whole blocks, so that the longer side has at most ``_LONGEST`` pixels."""
    factor = -(-max(image.shape[-2:]) // _LONGEST)
    if factor == 1:
        return image
    rows, columns = (side // factor * factor for side in image.shape[-2:])
    blocks = image[..., :rows, :columns].reshape(*image.shape[:-2], rows // factor, factor, columns // factor, factor)
    return blocks.mean(axis=(-3, -1))


def _difference(image: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the absolute error [H, W], the mean over channels if there are several."""
    error = np.abs(image - target)
    return error if error.ndim == 2 else error.mean(0)


def _levels(image: np.ndarray, window: tuple[float, float]) -> str:
    """Encode an image with the window as 0..255: three channels as colours, other numbers of channels as their mean."""
    low, high = window
    if image.ndim == 3:
        image = np.moveaxis(image, 0, -1) if len(image) == _COLOUR_CHANNELS else image.mean(0)
    levels = np.clip((image - low) / (high - low), 0, 1)
    return _png(Image.fromarray(np.round(255 * levels).astype(np.uint8), mode=None))


def _error(error: np.ndarray, limit: float) -> str:
    """Encode an error map with a colour palette from 0 to ``limit``."""
    picture = Image.fromarray(np.round(255 * np.clip(error / limit, 0, 1)).astype(np.uint8), mode=None)
    picture = picture.convert("P")
    table = matplotlib.colormaps[_COLOURS](np.arange(256), bytes=True)
    picture.putpalette(np.asarray(table)[:, :3].tobytes())
    return _png(picture)


def _png(image: Image.Image) -> str:
    """Return a PNG as a data URI."""
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
