"""The recipe: one stage with the objective. It imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from i2ikd import Reference, Stage

Weight = Annotated[float, Field(ge=0)]
Epochs = Annotated[int, Field(ge=1)] | None


def assisted_imitation(
    alpha: Weight = 0.5, beta: Weight = 0.25, gamma: Weight = 0.25, epochs: Epochs = None
) -> list[Stage]:
    """Target, and imitation of a teacher and of an assistant, which the arm names in ``inputs.assistant``.

    Args:
        alpha: weight of the target.
        beta: weight of the teacher's image.
        gamma: weight of the assistant's image.
        epochs: of the stage; ``training.epochs`` unless given.
    """
    options = {"name": "assisted-imitation", "alpha": alpha, "beta": beta, "gamma": gamma}
    return [Stage(name="assisted", objective=Reference.model_validate(options), epochs=epochs)]
