"""Hooks that register the super-resolution task, its networks, and pairs of their taps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register


@i2ikd.hookimpl
def register_tasks(register: Register) -> None:
    """Register the task."""
    register(
        "mri-sr",
        "i2ikd_mri_sr.task:MriSuperResolution",
        summary="restore fully sampled slices from low-resolution ones (the centre of k-space)",
        paper="arXiv:2004.05319",
        template="i2ikd_mri_sr:template.toml",
        demo="i2ikd_mri_sr:demo.toml",
    )


@i2ikd.hookimpl
def register_models(register: Register) -> None:
    """Register the networks, one for each grid."""
    register(
        "vdsr",
        "i2ikd_mri_sr.vdsr:VDSR",
        summary="convolutions whose output is added to the zero-filled image",
        paper="arXiv:1511.04587",
    )
    register(
        "upsampling-cnn",
        "i2ikd_mri_sr.upsampling:UpsamplingCNN",
        summary="plain or residual blocks on the low-resolution grid, then a sub-pixel convolution",
        paper="ESPCN, arXiv:1609.05158; EDSR, arXiv:1707.02921",
    )


@i2ikd.hookimpl
def register_pairs(register: Register) -> None:
    """Register pairs of taps of two VDSRs, or of two upsampling-cnns."""
    for name, target, model, tap_kind, summary in (
        ("vdsr", "vdsr", "vdsr", "features", "the middle block, after its activation"),
        (
            "vdsr-preactivations",
            "vdsr_preactivations",
            "vdsr",
            "preactivations",
            "the middle convolution, before its activation",
        ),
        ("vdsr-layers", "vdsr_layers", "vdsr", "layers", "blocks of equal shape, group by group"),
        ("vdsr-blocks", "vdsr_blocks", "vdsr", "blocks", "groups of consecutive blocks, from features to features"),
        ("vdsr-images", "vdsr_images", "vdsr", "images", "the correction added to the input"),
        ("upsampling-cnn", "upsampling", "upsampling-cnn", "features", "the middle and the last block"),
        (
            "upsampling-cnn-preactivations",
            "upsampling_preactivations",
            "upsampling-cnn",
            "preactivations",
            "the convolutions of the middle and the last block",
        ),
        (
            "upsampling-cnn-images",
            "upsampling_images",
            "upsampling-cnn",
            "images",
            "the correction added to the enlarged input",
        ),
        (
            "upsampling-cnn-layers",
            "upsampling_layers",
            "upsampling-cnn",
            "layers",
            "blocks of equal shape, group by group, and the sub-pixel convolution",
        ),
        (
            "upsampling-cnn-blocks",
            "upsampling_blocks",
            "upsampling-cnn",
            "blocks",
            "groups of consecutive blocks, and the sub-pixel convolution",
        ),
    ):
        register(name, f"i2ikd_mri_sr.pairs:{target}", summary=summary, teacher=model, student=model, tap_kind=tap_kind)
