"""Hooks that register one model for each library, and pairs of taps; neither library is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register


@i2ikd.hookimpl
def register_models(register: Register) -> None:
    """Register one model for each library; its option ``network`` names a class."""
    register(
        "monai",
        "i2ikd_networks.models:monai",
        summary='any 2D image-to-image network of MONAI; pip install "i2ikd[monai]"',
    )
    register(
        "deepinv",
        "i2ikd_networks.models:deepinv",
        summary='any 2D image-to-image network of deepinv; pip install "i2ikd[deepinv]"',
    )


@i2ikd.hookimpl
def register_pairs(register: Register) -> None:
    """Register pairs of taps of two networks of one library or of both."""
    for teacher in ("monai", "deepinv"):
        for student in ("monai", "deepinv"):
            register(
                teacher if teacher == student else f"{teacher}-{student}",
                "i2ikd_networks.pairs:features",
                summary="the last feature map, which the convolution before the output reads",
                teacher=teacher,
                student=student,
                tap_kind="features",
            )
