"""Stages, their objectives and start weights; a recipe is a list of stages. Importing this module imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

TapPairs = list[tuple[str, str]]
"""(teacher path, student path) pairs of modules."""

Pairs = TapPairs | str
"""Pairs of modules, or the name of registered ones."""

WEIGHTED_TERMS = "weighted-terms"
"""The objective of a stage that states terms."""


class Reference(BaseModel):
    """A component by name, with options: ``"attention"`` or ``{name = "attention", mode = "code"}``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


OBJECT = "object"
"""Key of a ``Reference`` to a component that is passed as an object, such as a ``Distiller``, instead of by name."""


def _reference(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if callable(value):  # an instance or a class; configuration files hold none
        return {"name": getattr(value, "__name__", type(value).__name__), OBJECT: value}
    return value


ComponentRef = Annotated[Reference, BeforeValidator(_reference)]

ComponentLike = Reference | str | Mapping[str, Any] | Callable[..., Any]
"""What is accepted for a ``ComponentRef``: a name, a table with name and options, or a component itself."""


class WeightSchedule(BaseModel):
    """A weight that changes linearly over the first part of a stage, then stays.

    In epoch e of E it is ``start + (end - start) * min(1, e / (until * E))``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    start: float = Field(ge=0)
    end: float = Field(ge=0)
    until: float = Field(default=1.0, gt=0, le=1)
    """Share of the stage's epochs after which ``end`` is reached."""

    def at(self, epoch: int, epochs: int) -> float:
        """Return the weight of an epoch, from 0.

        >>> WeightSchedule(start=0.0, end=1.0, until=0.5).at(2, 8)
        0.5
        """
        return self.start + (self.end - self.start) * min(1.0, epoch / (self.until * epochs))


class Term(BaseModel):
    """One weighted term of a stage's loss.

    With ``ratio`` the weight is calibrated on the first batches such that
    weight * term = ratio * reconstruction loss, and then fixed.
    """

    model_config = ConfigDict(extra="forbid")
    distiller: ComponentRef
    weight: Annotated[float, Field(ge=0)] | WeightSchedule = 1.0
    ratio: float | None = Field(default=None, gt=0)
    pairs: Pairs | None = None

    if TYPE_CHECKING:  # what validation accepts, beside the types of the fields

        def __init__(
            self,
            *,
            distiller: ComponentLike,
            weight: float | WeightSchedule = 1.0,
            ratio: float | None = None,
            pairs: Sequence[tuple[str, str]] | str | None = None,
        ) -> None: ...

    @property
    def active(self) -> bool:
        """Whether it is computed at all: a term whose weight is always 0 is not."""
        return self.ratio is not None or self.weight_at(0, 1) > 0 or self.weight_at(1, 1) > 0

    def weight_at(self, epoch: int, epochs: int) -> float:
        """Return the stated weight in an epoch (from 0) of a stage of ``epochs``."""
        return self.weight.at(epoch, epochs) if isinstance(self.weight, WeightSchedule) else self.weight


class Start(BaseModel):
    """Weights that a stage takes from an input network before its first step.

    ``{from = "teacher"}`` copies the layers registered for the two models, or else those of equal name and shape;
    ``{from = "teacher", map = [["cascades.*.layers.4", "cascades.*.layers.2"]]}`` copies module by module.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    source: str = Field(alias="from")
    """Role of an input network."""
    map: TapPairs | None = None
    """(input's module path, trained network's module path), with ``*``; an empty list copies nothing."""
    network: str | None = None
    """Name of a further network that the input's run left behind, instead of its main one."""
    prune: Literal["l1", "l2"] | None = None
    """Remove the input's channels of smallest norm until it has the widths of the trained network, whose layers are the
    same otherwise; then all of its layers are copied."""

    @model_validator(mode="after")
    def _prunes_whole_networks(self) -> Start:
        if self.prune is not None and self.map is not None:
            raise ValueError("prune copies all layers: state either prune or map")
        return self

    @model_serializer(mode="wrap")
    def _without_prune(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``prune`` out where it is not used, so that runs of earlier versions keep their addresses."""
        content: dict[str, Any] = handler(self)
        if content.get("prune") is None:
            content.pop("prune", None)
        return content


def _start(value: Any) -> Any:
    if isinstance(value, str) and value not in ("previous", "fresh"):
        return {"from": value}
    return value


class Stage(BaseModel):
    """A named part of a recipe: what is minimised, for how long, from which weights."""

    model_config = ConfigDict(extra="forbid")
    name: str
    terms: list[Term] = Field(default_factory=list)
    """Of the objective ``weighted-terms``."""
    objective: ComponentRef | None = None
    """Another objective by name, with options; a stage has either terms or an objective."""
    epochs: int | None = Field(default=None, ge=0)
    """``None``: ``training.epochs``."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Share of ``training.epochs`` instead of ``epochs``; stages whose shares add up to 1 have ``training.epochs``
    together."""
    start: Annotated[Literal["previous", "fresh"] | Start, BeforeValidator(_start)] = "previous"
    """``previous``: the weights of the stage before (or freshly initialised); ``fresh``; or taken from an input
    network, by its role alone (``"teacher"``) or as a table."""
    freeze: list[str] = Field(default_factory=list)
    """Module paths, with ``*``, that do not change in this stage: no parameter is trained, and the modules are in eval
    mode, so that no running statistic is updated."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings of ``[training]`` that differ in this stage (lr, optimizer, schedule, ema, ...)."""

    if TYPE_CHECKING:  # what validation accepts, beside the types of the fields

        def __init__(
            self,
            *,
            name: str,
            terms: Sequence[Term] = (),
            objective: ComponentLike | None = None,
            epochs: int | None = None,
            share: float | None = None,
            start: str | Start | Mapping[str, Any] = "previous",
            freeze: Sequence[str] = (),
            training: Mapping[str, Any] = ...,
        ) -> None: ...

    @model_validator(mode="after")
    def _has_one_objective(self) -> Stage:
        if not self.terms and self.objective is None:
            raise ValueError(
                f"the stage {self.name!r} has neither terms nor an objective: there is nothing to minimise"
            )
        if self.terms and self.objective is not None:
            raise ValueError(f"the stage {self.name!r} has both terms and an objective; state one of them")
        return self

    @model_validator(mode="after")
    def _has_one_length(self) -> Stage:
        if self.share is not None and (self.epochs is not None or "epochs" in self.training):
            raise ValueError(f"the stage {self.name!r} has both a share and epochs; state one of them")
        return self

    @property
    def minimises(self) -> Reference:
        """The objective with its options, terms included."""
        if self.objective is not None:
            return self.objective
        terms = [term.model_dump(exclude_defaults=True) for term in self.terms]
        return Reference.model_validate({"name": WEIGHTED_TERMS, "terms": terms})


class RecipeContext(ABC):
    """What a recipe can find out about the networks that it is for.

    A recipe with an argument ``recipe_context`` receives it; the argument is no option. It is ``None`` for the recipe
    of a teacher, and where a recipe is created without networks.

    Attributes:
        left_out: parts of the recipe that these networks do not allow, with the reason; printed before training.
    """

    def __init__(self) -> None:
        self.left_out: list[str] = []

    @abstractmethod
    def problem(self, stage: Stage) -> str:
        """Return why a stage cannot be set up for the networks, without training it; empty if it can."""

    def leave_out(self, part: str, reason: str) -> None:
        """Record that the recipe leaves out a part.

        Args:
            part: what the recipe does without.
            reason: why, with the remedy.
        """
        self.left_out.append(f"{part}: {reason}")


def active_stages(stages: list[Stage]) -> list[Stage]:
    """Drop terms of weight 0 and stages without others: with all teacher terms at 0 a recipe is plain training."""
    kept = []
    for stage in stages:
        terms = [term for term in stage.terms if term.active]
        if terms or stage.objective is not None:
            kept.append(stage.model_copy(update={"terms": terms}))
    return kept


def as_reference(value: Mapping[str, Any] | str | Reference) -> Reference:
    """Return a component's name and options from any of the forms an experiment can write."""
    return value if isinstance(value, Reference) else Reference.model_validate(_reference(value))
