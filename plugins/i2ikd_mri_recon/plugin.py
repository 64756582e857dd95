"""Hooks that register the reconstruction task, DC-CNN, and pairs of its taps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register


@i2ikd.hookimpl
def register_tasks(register: Register) -> None:
    """Register the task."""
    register(
        "mri-recon",
        "i2ikd_mri_recon.task:MriRecon",
        summary="reconstruct fully sampled slices from undersampled single-coil k-space",
        paper="arXiv:2004.05319",
        template="i2ikd_mri_recon:template.toml",
        demo="i2ikd_mri_recon:demo.toml",
    )


@i2ikd.hookimpl
def register_models(register: Register) -> None:
    """Register the network."""
    register(
        "dc-cnn",
        "i2ikd_mri_recon.network:DCCNN",
        summary="cascades of a small CNN and a data-consistency step",
        paper="arXiv:1704.02422",
    )


@i2ikd.hookimpl
def register_pairs(register: Register) -> None:
    """Register pairs of taps of two DC-CNNs."""
    register(
        "dc-cnn",
        "i2ikd_mri_recon.pairs:features",
        summary="the middle block of each cascade, after its activation",
        teacher="dc-cnn",
        student="dc-cnn",
        tap_kind="features",
    )
    register(
        "dc-cnn-preactivations",
        "i2ikd_mri_recon.pairs:preactivations",
        summary="the middle convolution of each cascade, before its activation",
        teacher="dc-cnn",
        student="dc-cnn",
        tap_kind="preactivations",
    )
    register(
        "dc-cnn-images",
        "i2ikd_mri_recon.pairs:images",
        summary="the image that each cascade outputs",
        teacher="dc-cnn",
        student="dc-cnn",
        tap_kind="images",
    )
    register(
        "dc-cnn-layers",
        "i2ikd_mri_recon.pairs:layers",
        summary="in each cascade the first blocks and the last, which have equal shapes",
        teacher="dc-cnn",
        student="dc-cnn",
        tap_kind="layers",
    )
    register(
        "dc-cnn-blocks",
        "i2ikd_mri_recon.pairs:blocks",
        summary="the cascades, from image and measurement to image",
        teacher="dc-cnn",
        student="dc-cnn",
        tap_kind="blocks",
    )
