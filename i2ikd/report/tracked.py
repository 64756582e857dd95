"""Final table and images of a comparison in the form that trackers take."""

from __future__ import annotations

from typing import Any

import numpy as np

from i2ikd.experiment.summary import Comparison
from i2ikd.report.pictures import Pictures

_GAP = 2
"""White columns between two images, in pixels."""


def tracked_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the table: a row per arm with costs, the mean of every column, the closed gap and the rank.

    Args:
        comparison: the results.
    """
    rows = []
    for row in comparison.rows:
        costs = row.costs
        values: dict[str, Any] = {"arm": row.arm, "kind": row.kind}
        values |= {"params": costs.params, "macs": costs.macs, "latency_ms": costs.latency_ms} if costs else {}
        values |= {column: float(estimate.mean) for column, estimate in row.metrics.items()}
        if row.gap_closed is not None:
            values["gap_closed"] = float(row.gap_closed.mean)
        rows.append({**values, "rank": row.rank})
    return rows


def tracked_images(pictures: Pictures) -> dict[str, np.ndarray]:
    """Return one image per picture: the target and every row of the table side by side, in 0..1 of the target's range.

    Args:
        pictures: of a report.

    Returns:
        [H, W] of one channel, [H, W, 3] of three, by ``label: target | row | row``.
    """
    found = {}
    for picture in pictures:
        low, high = float(picture.target.min()), float(picture.target.max())
        images = [picture.target, *picture.images.values()]
        shown = [_channels_last(np.clip((image - low) / max(high - low, 1e-12), 0, 1)) for image in images]
        gap = np.ones((shown[0].shape[0], _GAP, *shown[0].shape[2:]))
        parts = [part for image in shown for part in (image, gap)][:-1]
        found[f"{picture.label}: {' | '.join(['target', *picture.images])}"] = np.concatenate(parts, axis=1)
    return found


def _channels_last(image: np.ndarray) -> np.ndarray:
    """Return [H, W], or [H, W, 3]; of other numbers of channels their mean."""
    if image.ndim == 2:
        return image
    return np.moveaxis(image, 0, -1) if image.shape[0] == 3 else image.mean(axis=0)
