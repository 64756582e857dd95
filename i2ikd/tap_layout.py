"""Layout of a tapped feature: channels last or tokens, stated by the ending of the tap's path, read as [B, C, H, W]."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from torch import Tensor

from i2ikd.errors import UserError

_ENDING = re.compile(r":(?P<name>nhwc|tokens)(?:-(?P<extra>\d+))?$")


@dataclass(frozen=True)
class Layout:
    """Layout of a feature.

    Attributes:
        name: ``nhwc`` for [B, H, W, C], ``tokens`` for [B, N, C].
        extra: number of leading tokens that are no pixels, such as a class token; they are left out.
    """

    name: str
    extra: int = 0

    def to_channels_first(self, feature: Tensor, image: tuple[int, int], where: str) -> Tensor:
        """Return a feature as [B, C, H, W], a view.

        Args:
            feature: of the layout.
            image: (height, width) of the network input; tokens form a map of its aspect ratio, row by row.
            where: the tap, the prefix of messages.

        Raises:
            UserError: another number of axes, or a number of tokens that forms no map of the aspect ratio.
        """
        expected = 4 if self.name == "nhwc" else 3
        if feature.ndim != expected:
            form = "[B, H, W, C]" if self.name == "nhwc" else "[B, N, C]"
            raise UserError(f"{where}: expected a feature {form}, got the shape {tuple(feature.shape)}")
        if self.name == "nhwc":
            return feature.movedim(-1, 1)
        tokens = feature[:, self.extra :]
        height, width = _map_size(tokens.shape[1], image)
        if height * width != tokens.shape[1]:
            raise UserError(
                f"{where}: expected tokens that form a map of the aspect ratio {image[0]} x {image[1]}, got "
                f"{tokens.shape[1]}; leave out a class token with ':tokens-1', or tap another module"
            )
        return tokens.movedim(-1, 1).unflatten(2, (height, width))


def split_layout(path: str) -> tuple[str, Layout | None]:
    """Divide the path of a tap into the path without layout, and the layout.

    Args:
        path: such as ``stages.1:nhwc``, ``blocks.3:tokens``, or ``blocks.3:tokens-1`` with one leading extra token.

    >>> split_layout("blocks.3:tokens-1")
    ('blocks.3', Layout(name='tokens', extra=1))
    >>> split_layout("layers.2")
    ('layers.2', None)
    """
    match = _ENDING.search(path)
    if match is None:
        return path, None
    return path[: match.start()], Layout(match["name"], int(match["extra"] or 0))


def refuse_other_layout(shape: tuple[int, ...], image: tuple[int, int], where: str) -> None:
    """Check that a feature without a stated layout is [B, C, H, W], as far as its shape shows.

    Channels are last if the middle axes have the aspect ratio of the image and the last two have not.

    Args:
        shape: of the feature.
        image: (height, width) of the network input.
        where: the tap, the prefix of messages.

    Raises:
        UserError: tokens, or channels last.
    """
    if len(shape) == 3:
        raise UserError(
            f"{where}: expected a feature [B, C, H, W], got {shape}; if it is [B, N, C], end the path of the tap with "
            "':tokens' (':tokens-1' leaves out a class token)"
        )
    if len(shape) == 4 and _is_map(shape[1:3], image) and not _is_map(shape[2:], image):
        raise UserError(
            f"{where}: expected a feature [B, C, H, W], got {shape} for an image of {image[0]} x {image[1]}, which "
            "seems to be [B, H, W, C]; end the path of the tap with ':nhwc'"
        )


def _is_map(size: tuple[int, ...], image: tuple[int, int]) -> bool:
    """Return whether a size is that of an image at some resolution; strided networks round it by up to one pixel."""
    height, width = size
    return abs(height * image[1] - width * image[0]) <= max(image) and min(size) > 1


def _map_size(count: int, image: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of ``count`` tokens with the aspect ratio of an image, rounded."""
    height = max(1, round(math.sqrt(count * image[0] / image[1])))
    return height, count // height
