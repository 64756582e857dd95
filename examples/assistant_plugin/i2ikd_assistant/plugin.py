"""What this package registers. Targets are texts, so that ``i2ikd --help`` and ``i2ikd list`` import none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register


@i2ikd.hookimpl
def register_objectives(register: Register) -> None:
    """The objective."""
    register(
        "assisted-imitation",
        "i2ikd_assistant.objective:AssistedImitation",
        summary="target, and imitation of a teacher and of an assistant",
        paper="TAKD, arXiv:1902.03393",
        formula="alpha l(y_S, x) + beta |y_S - y_T| + gamma |y_S - y_A|",
    )


@i2ikd.hookimpl
def register_recipes(register: Register) -> None:
    """The recipe."""
    register(
        "assisted-imitation",
        "i2ikd_assistant.recipe:assisted_imitation",
        summary="one stage of target, and imitation of a teacher and of an assistant",
    )
