"""timm backbones as encoders: looked up by name, and refused when they give no pyramid of feature maps."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from i2ikd.errors import UserError


class Level(NamedTuple):
    """One feature map of an encoder: its channels, and how many image pixels wide one of its pixels is."""

    channels: int
    reduction: int


def feature_encoder(name: str, in_channels: int, pretrained: bool) -> tuple[nn.Module, list[Level]]:
    """Build a timm model that maps [B, in_channels, H, W] to a list of feature maps, fine to coarse.

    H and W are multiples of the last level's reduction. timm is imported here, because that takes seconds.

    Raises:
        UserError: timm does not know the name, its weights cannot be had, or the model gives no feature
            maps of decreasing size for images of any size (vision transformers).
    """
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"the nearest are {', '.join(close)}" if close else "timm.list_models() lists them"
        raise UserError(f"timm-unet: timm {timm.__version__} has no model {name!r}; {hint}")
    try:
        encoder: Any = timm.create_model(name, pretrained=pretrained, features_only=True, in_chans=in_channels)
        metadata = encoder.feature_info.get_dicts()
        levels = [Level(int(entry_["num_chs"]), int(entry_["reduction"])) for entry_ in metadata]
        _probe(encoder, levels, in_channels)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"timm-unet: {name!r} cannot be an encoder: {reason}; take one that gives feature maps of "
            "decreasing size, e.g. resnet18, mobilenetv3_small_050, convnext_atto, efficientnet_b0"
        ) from error
    return encoder, levels


@torch.no_grad()
def _probe(encoder: nn.Module, levels: Sequence[Level], in_channels: int) -> None:
    """Raise ``ValueError`` unless the maps have the shapes that the levels promise."""
    reductions = [level.reduction for level in levels]
    growing = all(after % before == 0 and after > before for before, after in pairwise(reductions))
    if len(levels) < 2 or not growing:
        raise ValueError(f"its feature maps are reduced by {reductions}, which is no pyramid")
    rows, columns = 2 * reductions[-1], 3 * reductions[-1]
    training = encoder.training
    features: list[Tensor] = encoder.eval()(torch.zeros(1, in_channels, rows, columns))
    encoder.train(training)
    for level, feature in zip(levels, features):
        expected = (1, level.channels, rows // level.reduction, columns // level.reduction)
        if tuple(feature.shape) != expected:
            raise ValueError(f"it gives {tuple(feature.shape)} where {expected} was announced")
