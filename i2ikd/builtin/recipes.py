"""Recipes of the core: named lists of stages; this module does not import torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from i2ikd.recipe import ComponentRef, Pairs, Reference, Stage, Term

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
PixelLoss = Literal["l1", "mse", "charbonnier"]

_TARGET = Reference(name="target")


def _feature_term(distiller: Reference, weight: float, ratio: float | None, pairs: Pairs | None) -> Term:
    """Return the term of a feature loss."""
    return Term(distiller=distiller, weight=weight, ratio=ratio, pairs=pairs)


def _output_terms(alpha: float, loss: PixelLoss) -> list[Term]:
    """Return alpha * target + (1 - alpha) * imitation."""
    imitation = Reference.model_validate({"name": "imitation", "loss": loss})
    return [Term(distiller=_TARGET, weight=alpha), Term(distiller=imitation, weight=1 - alpha)]


def student(stages: PositiveInt = 1, epochs: PositiveInt | None = None) -> list[Stage]:
    """Train without a teacher.

    Args:
        stages: number of stages; 2 restarts the learning rate as in ``kd-mri`` (equal-budget control).
        epochs: epochs of each stage; ``training.epochs`` when ``None``.
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
    """Distil by KD-MRI (arXiv:2004.05319): a feature stage, then alpha * target + (1 - alpha) * imitation.

    Args:
        distiller: feature loss of the first stage, by name or with options.
        alpha: weight of the target in the second stage, from 0 to 1; 1 disables the imitation (ablation).
        loss: pixel loss of the imitation.
        weight: weight of the feature loss; Adam's updates do not depend on it, as the stage has no other term.
        ratio: calibrate the weight to this fraction of the reconstruction loss instead.
        pairs: taps; the pairs registered for the two models when ``None``.
        feature_epochs: epochs of the feature stage; ``training.epochs`` when ``None``.
        epochs: epochs of the output stage; ``training.epochs`` when ``None``.
    """
    return [
        Stage(name="features", terms=[_feature_term(distiller, weight, ratio, pairs)], epochs=feature_epochs),
        Stage(name="output", terms=_output_terms(alpha, loss), epochs=epochs),
    ]


def imitation(
    alpha: Share = 0.5, loss: PixelLoss = "l1", stages: PositiveInt = 1, epochs: PositiveInt | None = None
) -> list[Stage]:
    """Distil the output only: alpha * target + (1 - alpha) * imitation in every stage.

    Args:
        alpha: weight of the target, from 0 to 1.
        loss: pixel loss of the imitation.
        stages: number of stages; 2 restarts the learning rate as in ``kd-mri`` (equal budget).
        epochs: epochs of each stage; ``training.epochs`` when ``None``.
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
    """Distil output and features in one stage: alpha * target + (1 - alpha) * imitation + weight * features.

    Args:
        distiller: feature loss, by name or with options.
        alpha: weight of the target, from 0 to 1; 1 disables the imitation.
        loss: pixel loss of the imitation.
        weight: weight of the feature loss.
        ratio: calibrate the weight to this fraction of the reconstruction loss instead.
        pairs: taps; the pairs registered for the two models when ``None``.
        stages: number of stages; 2 restarts the learning rate as in ``kd-mri`` (equal budget).
        epochs: epochs of each stage; ``training.epochs`` when ``None``.
    """
    terms = [*_output_terms(alpha, loss), _feature_term(distiller, weight, ratio, pairs)]
    names = ["joint", *(f"joint-{i + 1}" for i in range(1, stages))]
    return [Stage(name=name, terms=terms, epochs=epochs) for name in names]


def custom(stages: Annotated[list[Stage], Field(min_length=1)]) -> list[Stage]:
    """Use the stages defined in the experiment.

    Args:
        stages: at least one, each with a name, terms, and settings that override ``[training]``.
    """
    return stages
