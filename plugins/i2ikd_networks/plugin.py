"""What this package registers: a model per library, and taps of their networks. Neither library is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register


@i2ikd.hookimpl
def register_models(register: Register) -> None:
    """One model per library; its option ``network`` names a class."""
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
    """Taps of any two of them, of one library or of both."""
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
