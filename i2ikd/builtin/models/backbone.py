"""timm backbones as encoders: creation by name, and a check that they return a pyramid of feature maps."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from i2ikd.errors import UserError


class Level(NamedTuple):
    """Feature map of an encoder.

    Attributes:
        channels: number of channels.
        reduction: stride with respect to the image.
    """

    channels: int
    reduction: int


def feature_encoder(name: str, in_channels: int, pretrained: bool) -> tuple[nn.Module, list[Level]]:
    """Create a timm model that returns feature maps.

    Args:
        name: name of the timm model.
        in_channels: channels of the input image.
        pretrained: whether to load timm's weights.

    Returns:
        The encoder, which maps [B, in_channels, H, W] to a list of feature maps, fine to coarse, and its levels.
        H and W are multiples of the last level's reduction.

    Raises:
        UserError: an unknown name, weights that cannot be downloaded, or a model without feature maps of decreasing
            size for any image size (vision transformers).
    """
    import timm  # imported in the function: the import takes seconds

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"the nearest are {', '.join(close)}" if close else "timm.list_models() lists them"
        raise UserError(f"timm-unet: timm {timm.__version__} has no model {name!r}; {hint}")
    try:
        encoder: Any = timm.create_model(name, pretrained=pretrained, features_only=True, in_chans=in_channels)
        metadata = encoder.feature_info.get_dicts()
        levels = [Level(int(entry["num_chs"]), int(entry["reduction"])) for entry in metadata]
        _probe(encoder, levels, in_channels)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"timm-unet: encoder: expected a timm model with feature maps of decreasing size, got {name!r}: {reason}; "
            "use e.g. resnet18, mobilenetv3_small_050, convnext_atto or efficientnet_b0"
        ) from error
    return encoder, levels


@torch.no_grad()
def _probe(encoder: nn.Module, levels: Sequence[Level], in_channels: int) -> None:
    """Raise ``ValueError`` unless the feature maps have the shapes declared by ``levels``."""
    reductions = [level.reduction for level in levels]
    growing = all(after % before == 0 and after > before for before, after in pairwise(reductions))
    if len(levels) < 2 or not growing:
        raise ValueError(f"its feature maps have the strides {reductions}, which do not form a pyramid")
    rows, columns = 2 * reductions[-1], 3 * reductions[-1]
    training = encoder.training
    features: list[Tensor] = encoder.eval()(torch.zeros(1, in_channels, rows, columns))
    encoder.train(training)
    for level, feature in zip(levels, features):
        expected = (1, level.channels, rows // level.reduction, columns // level.reduction)
        if tuple(feature.shape) != expected:
            raise ValueError(f"it returns a feature map {tuple(feature.shape)} instead of {expected}")
