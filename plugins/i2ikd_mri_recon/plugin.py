"""Hooks that register the reconstruction tasks, their networks, and pairs of taps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register


@i2ikd.hookimpl
def register_tasks(register: Register) -> None:
    """Register the tasks."""
    register(
        "mri-recon",
        "i2ikd_mri_recon.task:MriRecon",
        summary="reconstruct fully sampled slices from undersampled single-coil k-space",
        paper="arXiv:2004.05319",
        template="i2ikd_mri_recon:template.toml",
        demo="i2ikd_mri_recon:demo.toml",
    )
    register(
        "mri-multicoil",
        "i2ikd_mri_recon.multicoil.task:MriMulticoil",
        summary="reconstruct images from undersampled multi-coil k-space, with coil maps",
        template="i2ikd_mri_recon.multicoil:template.toml",
    )


@i2ikd.hookimpl
def register_models(register: Register) -> None:
    """Register the networks."""
    register(
        "dc-cnn",
        "i2ikd_mri_recon.network:DCCNN",
        summary="cascades of a small CNN and a data-consistency step",
        paper="arXiv:1704.02422",
    )
    register(
        "varnet",
        "i2ikd_mri_recon.varnet:VarNet",
        summary="cascades of a U-Net and a gradient step of multi-coil data consistency",
        paper="arXiv:2004.06688",
    )
    register(
        "unet",
        "i2ikd_mri_recon.unet:UNet",
        summary="fastMRI's U-Net, of images without data consistency",
        paper="arXiv:1811.08839",
    )


@i2ikd.hookimpl
def register_pairs(register: Register) -> None:
    """Register pairs of taps."""
    for teacher, student in (("varnet", "dc-cnn"), ("varnet", "varnet"), ("unet", "unet"), ("unet", "dc-cnn")):
        register(
            teacher if teacher == student else f"{teacher}-{student}",
            "i2ikd_mri_recon.pairs:features",
            summary="one block of each cascade, of the size of the image",
            teacher=teacher,
            student=student,
            tap_kind="features",
        )
    for kind, summary in (
        ("images", "the image that each cascade outputs"),
        ("blocks", "the cascades, from image and measurement to image"),
    ):
        for student in ("dc-cnn", "varnet"):
            register(
                f"varnet-{kind}" if student == "varnet" else f"varnet-dc-cnn-{kind}",
                f"i2ikd_mri_recon.pairs:{kind}",
                summary=summary,
                teacher="varnet",
                student=student,
                tap_kind=kind,
            )
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


@i2ikd.hookimpl
def register_bundles(register: Register) -> None:
    """Register trained networks."""
    zoo = "i2ikd_mri_recon.zoo:"
    brain = "CC BY-SA 3.0, data of IXI"
    register(
        "brain-4x-teacher", zoo + "brain_teacher", summary="DC-CNN D5C5, brain at 4x, 128 x 128, real", licence=brain
    )
    register(
        "brain-4x-student",
        zoo + "brain_student",
        summary="DC-CNN D5C3 distilled by `recommended`, brain at 4x, 128 x 128, real",
        licence=brain,
    )
    simulated = "Apache-2.0, simulated data"
    register(
        "phantom-4x-teacher",
        zoo + "phantom_teacher",
        summary="DC-CNN D5C5 of 16 channels, simulated heads at 4x, 64 x 64, real",
        licence=simulated,
    )
    register(
        "phantom-4x-student",
        zoo + "phantom_student",
        summary="DC-CNN D5C3 of 16 channels distilled by `recommended`, simulated heads at 4x, 64 x 64, real",
        licence=simulated,
    )
