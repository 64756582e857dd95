"""A distillation loss: the student's features should have their edges where the teacher's have them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from i2ikd import Batch, Distiller, Features, Knowledge, at_least_float32

EPSILON = 1e-6


class EdgeMaps(Distiller):
    """Edge maps e(F) = |grad mean_c F| of both networks, divided by their means over the image, compared by pixel.

    A student of fewer channels, or with features of another scale, has the same edge map; its map is brought to the
    teacher's size. Of flat features the map is 1 everywhere: there is nothing to learn, and no division by 0.

    Args:
        norm: ``l1`` or ``l2`` (squared) distance.
    """

    cacheable = True

    def __init__(self, norm: Literal["l1", "l2"] = "l1") -> None:
        super().__init__()
        self._distance = F.l1_loss if norm == "l1" else F.mse_loss

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """One edge map [B, 1, H, W] per tap."""
        return {f"edges{i}": edge_map(tap.detach()) for i, tap in enumerate(teacher.taps)}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Return the mean distance over the pairs."""
        distances = []
        for i, tap in enumerate(student.taps):
            own, told = edge_map(tap), knowledge[f"edges{i}"]
            if own.shape != told.shape:
                own = F.interpolate(own, told.shape[-2:], mode="bilinear", align_corners=False)
            distances.append(self._distance(own, told))
        return torch.stack(distances).mean()


def edge_map(features: Tensor) -> Tensor:
    """Return the edges [B, 1, H, W] of features [B, C, H, W], at least float32, with a mean of 1 in every sample."""
    image = at_least_float32(features).mean(1, keepdim=True)
    down = F.pad(image, (0, 0, 0, 1), mode="replicate").diff(dim=2)
    across = F.pad(image, (0, 1, 0, 0), mode="replicate").diff(dim=3)
    edges = (down.square() + across.square() + EPSILON).sqrt()
    return edges / edges.mean((2, 3), keepdim=True)
