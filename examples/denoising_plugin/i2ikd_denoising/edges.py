"""Distillation loss that compares the edges in the features of teacher and student."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from i2ikd import Batch, Distiller, Features, Knowledge, at_least_float32

EPSILON = 1e-6


class EdgeMaps(Distiller):
    """Distance of the edge maps e(F) = |grad mean_c F| of both networks, divided by their means over the image.

    The edge map does not depend on the number of channels or the scale of the features. The student's map is
    interpolated to the size of the teacher's. The map of constant features is 1 everywhere, without a division by 0.

    Args:
        norm: ``l1`` or ``l2`` (squared) distance.
    """

    cacheable = True

    def __init__(self, norm: Literal["l1", "l2"] = "l1") -> None:
        super().__init__()
        self._distance = F.l1_loss if norm == "l1" else F.mse_loss

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Compute the edge maps of the teacher.

        Args:
            teacher: features with taps [B, C, H, W].
            batch: not used.

        Returns:
            One edge map [B, 1, H, W] for each tap.
        """
        return {f"edges{i}": edge_map(tap.detach()) for i, tap in enumerate(teacher.taps)}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Compute the distillation loss.

        Args:
            student: features with taps [B, C, H, W].
            knowledge: edge maps of the teacher.
            batch: not used.

        Returns:
            Mean distance over the pairs of taps, a scalar.
        """
        distances = []
        for i, tap in enumerate(student.taps):
            edges, target = edge_map(tap), knowledge[f"edges{i}"]
            if edges.shape != target.shape:
                edges = F.interpolate(edges, target.shape[-2:], mode="bilinear", align_corners=False)
            distances.append(self._distance(edges, target))
        return torch.stack(distances).mean()


def edge_map(features: Tensor) -> Tensor:
    """Compute the edge map of features.

    Args:
        features: [B, C, H, W].

    Returns:
        [B, 1, H, W], at least float32, not negative, with a mean of 1 in every sample.
    """
    image = at_least_float32(features).mean(1, keepdim=True)
    down = F.pad(image, (0, 0, 0, 1), mode="replicate").diff(dim=2)
    across = F.pad(image, (0, 1, 0, 0), mode="replicate").diff(dim=3)
    edges = (down.square() + across.square() + EPSILON).sqrt()
    return edges / edges.mean((2, 3), keepdim=True)
