"""Recipes: named lists of stages. Importing this file never imports torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from i2ikd.recipe import ComponentRef, Pairs, Reference, Stage, Term

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
PixelLoss = Literal["l1", "mse", "charbonnier"]

_TARGET = Reference(name="target")


def _feature_term(distiller: Reference, weight: float, ratio: float | None, pairs: Pairs | None) -> Term:
    return Term(distiller=distiller, weight=weight, ratio=ratio, pairs=pairs)


def _output_terms(alpha: float, loss: PixelLoss) -> list[Term]:
    imitation = Reference.model_validate({"name": "imitation", "loss": loss})
    return [Term(distiller=_TARGET, weight=alpha), Term(distiller=imitation, weight=1 - alpha)]


def student(stages: PositiveInt = 1, epochs: PositiveInt | None = None) -> list[Stage]:
    """Plain training, without a teacher.

    Args:
        stages: with 2, the learning rate restarts as in ``kd-mri``: the control with an equal budget.
        epochs: of each stage; ``training.epochs`` unless given.
    """
    names = ["reconstruction", *(f"reconstruction-{i + 1}" for i in range(1, stages))]
    return [Stage(name=name, terms=[Term(distiller=_TARGET)], epochs=epochs) for name in names]


def kd_mri(
    distiller: ComponentRef = Reference(name="attention"),  # noqa: B008 (frozen)
    alpha: Share = 0.5,
    loss: PixelLoss = "l1",
    weight: Weight = 1.0,
    ratio: PositiveFloat | None = None,
    pairs: Pairs | None = None,
    feature_epochs: PositiveInt | None = None,
    epochs: PositiveInt | None = None,
) -> list[Stage]:
    """KD-MRI (arXiv:2004.05319): a feature stage alone, then alpha * target + (1 - alpha) * imitation.

    Args:
        distiller: of the feature stage, by name or with options.
        alpha: share of the target in the second stage; 1 switches the imitation off (ablation).
        loss: of the imitation.
        weight: of the feature loss; it is alone in its stage, where Adam makes the scale irrelevant.
        ratio: calibrate the weight to this share of the reconstruction loss instead.
        pairs: taps, unless the ones registered for the two models are right.
        feature_epochs: of the feature stage; ``training.epochs`` unless given.
        epochs: of the output stage.
    """
    return [
        Stage(name="features", terms=[_feature_term(distiller, weight, ratio, pairs)], epochs=feature_epochs),
        Stage(name="output", terms=_output_terms(alpha, loss), epochs=epochs),
    ]


def imitation(
    alpha: Share = 0.5, loss: PixelLoss = "l1", stages: PositiveInt = 1, epochs: PositiveInt | None = None
) -> list[Stage]:
    """Output distillation alone: alpha * target + (1 - alpha) * imitation in every stage.

    Args:
        alpha: share of the target.
        loss: of the imitation.
        stages: with 2, the learning rate restarts as in ``kd-mri`` (equal budget).
        epochs: of each stage.
    """
    names = ["output", *(f"output-{i + 1}" for i in range(1, stages))]
    return [Stage(name=name, terms=_output_terms(alpha, loss), epochs=epochs) for name in names]


def joint(
    distiller: ComponentRef = Reference(name="attention"),  # noqa: B008 (frozen)
    alpha: Share = 1.0,
    loss: PixelLoss = "l1",
    weight: Weight = 1.0,
    ratio: PositiveFloat | None = None,
    pairs: Pairs | None = None,
    stages: PositiveInt = 1,
    epochs: PositiveInt | None = None,
) -> list[Stage]:
    """Everything at once: alpha * target + (1 - alpha) * imitation + weight * features.

    Args:
        distiller: the feature loss.
        alpha: share of the target; 1 means no imitation.
        loss: of the imitation.
        weight: of the feature loss, as it is.
        ratio: calibrate the weight to this share of the reconstruction loss instead.
        pairs: taps, unless the ones registered for the two models are right.
        stages: with 2, the learning rate restarts as in ``kd-mri`` (equal budget).
        epochs: of each stage.
    """
    terms = [*_output_terms(alpha, loss), _feature_term(distiller, weight, ratio, pairs)]
    names = ["joint", *(f"joint-{i + 1}" for i in range(1, stages))]
    return [Stage(name=name, terms=terms, epochs=epochs) for name in names]


def custom(stages: Annotated[list[Stage], Field(min_length=1)]) -> list[Stage]:
    """Stages written out in the experiment.

    Args:
        stages: each with a name, terms, and what differs from ``[training]``.
    """
    return stages
