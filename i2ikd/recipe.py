"""Stages and the terms of their losses; a recipe is a list of stages. Importing this file never imports torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

TapPairs = list[tuple[str, str]]
"""Pairs of taps: (module path in the teacher, module path in the student)."""

Pairs = TapPairs | str
"""Pairs of taps, or the name of registered ones."""


class Reference(BaseModel):
    """A component by name, with options: ``"attention"`` or ``{name = "attention", mode = "code"}``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


def _reference(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


ComponentRef = Annotated[Reference, BeforeValidator(_reference)]


class Term(BaseModel):
    """One weighted term of a stage's loss.

    ``weight`` is taken as it is. With ``ratio`` the weight is calibrated on the first batches such that
    weight * term = ratio * reconstruction loss, and then fixed.
    """

    model_config = ConfigDict(extra="forbid")
    distiller: ComponentRef
    weight: float = Field(default=1.0, ge=0)
    ratio: float | None = Field(default=None, gt=0)
    pairs: Pairs | None = None

    @property
    def active(self) -> bool:
        """A term of weight 0 is not computed at all."""
        return self.ratio is not None or self.weight > 0


class Stage(BaseModel):
    """A named part of a recipe: what is minimised, for how long, from which weights."""

    model_config = ConfigDict(extra="forbid")
    name: str
    terms: list[Term]
    epochs: int | None = Field(default=None, ge=0)
    """``None``: as many as ``training.epochs``."""
    start: Literal["previous", "fresh", "teacher"] = "previous"
    """``previous``: the stage before (or a fresh student); ``teacher``: layers of equal name and shape are copied."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings of ``[training]`` that differ in this stage (lr, optimizer, schedule, ema, ...)."""

    @model_validator(mode="after")
    def _has_terms(self) -> Stage:
        if not self.terms:
            raise ValueError(f"the stage {self.name!r} has no terms: there is nothing to minimise")
        return self


def active_stages(stages: list[Stage]) -> list[Stage]:
    """Drop terms of weight 0, and stages without others: with its teacher terms at 0 a recipe *is* plain training."""
    kept = []
    for stage in stages:
        terms = [term for term in stage.terms if term.active]
        if terms:
            kept.append(stage.model_copy(update={"terms": terms}))
    return kept
