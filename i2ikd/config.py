"""The experiment, read from TOML, checked whole by pydantic before anything runs; overrides; digest."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from i2ikd.errors import UserError, nearest
from i2ikd.options import explain
from i2ikd.recipe import ComponentRef, Pairs, Reference

Positive = Annotated[int, Field(ge=1)]


class Training(BaseModel):
    """How a stage is trained. Every stage of every arm uses these settings unless it says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    epochs: Positive = 150
    batch: Positive = 4
    optimizer: str = "adam"
    """A name that timm's ``create_optimizer_v2`` knows."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "step", "cosine"] = "step"
    decay_epochs: Positive = 40
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    min_lr: Annotated[float, Field(ge=0)] = 0.0
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of the moving average of the weights; ``None``: no average."""
    clip_grad: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    augmentations: tuple[str, ...] = ()
    """Random training views that the task offers (``flip``, ``shift``, ...)."""
    select: Literal["best", "last"] = "best"
    """Which weights a stage hands on: of the least validation loss, or the last."""
    validate_every: Positive | None = None
    """Epochs between validations; ``None``: as often as costs at most a tenth of the training."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read data; slices are kept in memory after the first epoch, so 0 is right for most."""
    cache_mb: Annotated[int, Field(ge=0)] = 2048
    """Memory for what a teacher said about the training samples, per term; 0 switches the cache off."""
    cache_disk_mb: Annotated[int, Field(ge=0)] = 8192
    """Disk for the same, all terms of an output folder together, shared by its processes; 0: memory only."""

    def identity(self) -> dict[str, Any]:
        """The settings that numbers depend on."""
        return self.model_dump(mode="json", exclude={"workers", "cache_mb", "cache_disk_mb"})


class Network(BaseModel):
    """A network: ``model`` by name or ``import:package.module:factory``, its options, and for a teacher its weights."""

    model_config = ConfigDict(extra="allow", frozen=True)
    model: str
    weights: Path | None = None
    """A trained network's weights (a run's folder, or a file with a state dict); it is then not trained."""
    recipe: ComponentRef = Reference(name="student")
    """How a teacher is trained; an arm states its own recipe."""
    transforms: list[ComponentRef] = Field(default_factory=list)
    """Changes of the network, during training or of the trained network, in order."""
    ensemble: Positive = 1
    """How many teachers of different seeds form the teacher."""
    combine: ComponentRef = Reference(name="mean")
    """How the networks of an ensemble become one."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings of ``[training]`` that differ for this network."""

    @property
    def options(self) -> dict[str, Any]:
        """What the factory is called with."""
        return dict(self.model_extra or {})


def _has_name(value: Any) -> Any:
    if isinstance(value, Mapping) and "name" not in value:
        raise ValueError("the key 'name' is missing; `i2ikd list tasks` shows what there is")
    return value


class Arm(BaseModel):
    """One row of the table: a recipe with its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    recipe: str = "student"
    student: dict[str, Any] = Field(default_factory=dict)
    """Options of ``[student]`` that differ in this arm (another depth, say)."""
    teacher: str | None = None
    """Another arm whose network is this arm's teacher; ``None``: the experiment's teacher."""
    inputs: dict[str, list[str]] = Field(default_factory=dict)
    """Arms whose networks fill further roles (``{assistant = ["kd-mri"]}``); several are combined."""
    of: str | None = None
    """Another arm whose trained network this arm takes over: nothing is trained, only ``transforms`` are applied."""
    transforms: list[ComponentRef] = Field(default_factory=list)
    """Changes of the network besides those of ``[student]``, in order."""

    @property
    def needed_arms(self) -> list[str]:
        """Names of the arms whose networks it needs."""
        stated = [name for names in self.inputs.values() for name in names]
        return [*stated, *(name for name in (self.teacher, self.of) if name is not None)]

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the recipe."""
        return dict(self.model_extra or {})


def _refuse_training(arm: Arm, of: Arm) -> None:
    """Refuse settings without effect in an arm that takes over another's network."""
    if of.of is not None:
        raise ValueError(f"arm {arm.name!r}: of = {of.name!r} is itself of {of.of!r}; name the arm that is trained")
    stated = arm.model_fields_set - {"name", "of", "transforms"} | (arm.model_extra or {}).keys()
    if stated:
        raise ValueError(
            f"arm {arm.name!r}: with of = {of.name!r} nothing is trained, so {min(stated)!r} has no effect"
        )
    if not arm.transforms:
        raise ValueError(f"arm {arm.name!r}: with of = {of.name!r} it needs transforms, or it is the same row twice")


def _refuse_cycle(arm: Arm, arms: Mapping[str, Arm]) -> None:
    path, waiting = [arm.name], [(arm, [arm.name])]
    while waiting:
        current, path = waiting.pop()
        for name in current.needed_arms:
            if name in path:
                raise ValueError(f"the arms {' -> '.join([*path, name])} need each other")
            if name in arms:
                waiting.append((arms[name], [*path, name]))


class Comparison(BaseModel):
    """Which arms the others are measured against, and what the table measures besides quality."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    student: str = "student"
    control: str = "control"
    references: list[str] = Field(default_factory=list)
    """Further arms that the others are measured against."""
    metrics: dict[str, ComponentRef] = Field(default_factory=dict)
    """Further columns of the table: metric by column name, with options."""
    latency: bool = True


class Experiment(BaseModel):
    """An experiment as a person writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]
    task: Annotated[Reference, BeforeValidator(_has_name)]
    teacher: Network
    student: Network
    training: Training = Training()
    pairs: Pairs | None = None
    arms: Annotated[list[Arm], Field(min_length=1)]
    comparison: Comparison = Comparison()
    trackers: list[ComponentRef] = Field(default_factory=list)
    """Where every epoch's numbers go besides the history, e.g. ``[{ name = "json-lines", path = "log.jsonl" }]``."""

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("the seeds must differ from each other")
        return seeds

    @model_validator(mode="after")
    def _distinct_arms(self) -> Experiment:
        names = [arm.name for arm in self.arms]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two arms are named {name!r}")
            if name == "teacher":
                raise ValueError("an arm cannot be named 'teacher': that is the teacher's row")
        for key in ("student", "control"):
            wanted = getattr(self.comparison, key)
            if wanted not in names and wanted != key:  # an experiment need not have these two
                raise ValueError(f"comparison.{key} names no arm; {nearest(wanted, names)}")
        for wanted in self.comparison.references:
            if wanted not in names:
                raise ValueError(f"comparison.references names no arm {wanted!r}; {nearest(wanted, names)}")
        return self

    @model_validator(mode="after")
    def _inputs_form_no_cycle(self) -> Experiment:
        arms = {arm.name: arm for arm in self.arms}
        for arm in self.arms:
            for name in arm.needed_arms:
                if name not in arms and name != "teacher":
                    raise ValueError(f"arm {arm.name!r}: there is no arm {name!r}; {nearest(name, arms)}")
            if arm.of == "teacher":
                raise ValueError(f"arm {arm.name!r}: of = 'teacher' is no arm; set transforms in [teacher]")
            if arm.of is not None:
                _refuse_training(arm, arms[arm.of])
            _refuse_cycle(arm, arms)
        return self

    @model_validator(mode="after")
    def _students_are_trained(self) -> Experiment:
        for where, weights in [
            ("student", self.student.weights),
            *((f"arm {arm.name!r}, student", arm.student.get("weights")) for arm in self.arms),
        ]:
            if weights is not None:
                raise ValueError(f"{where}.weights: only a teacher can be given weights; a student is trained")
        return self

    def student_of(self, arm: Arm) -> Network:
        """Return ``[student]`` with an arm's own changes.

        Raises:
            UserError: a change that is ill-typed.
        """
        try:
            return Network.model_validate({**self.student.model_dump(), **arm.student})
        except ValidationError as error:
            raise UserError(f"arm {arm.name!r}, student: {explain(error, Network.model_fields)}") from None

    def arm(self, name: str) -> Arm:
        """Return an arm by name.

        Raises:
            UserError: there is none.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UserError(
            f"the experiment {self.name!r} has no arm {name!r}; {nearest(name, [a.name for a in self.arms])}"
        )


def merge_training(base: Training, changes: Mapping[str, Any], where: str) -> Training:
    """Return ``base`` with ``changes``.

    Raises:
        UserError: an unknown or ill-typed setting.
    """
    try:
        return Training.model_validate({**base.model_dump(), **changes})
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, Training.model_fields)}") from None


def read_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a TOML file and apply ``key.path=value`` overrides.

    Relative folders in the file (``task.dataset.root``, ``teacher.weights``) stay as written: they are relative to
    where the command is run.

    Raises:
        UserError: no such file, not TOML, or a key that is wrong, with the nearest known name.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the experiment {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from None
    for override in overrides:
        apply_override(document, override)
    return check_experiment(document, str(path))


def check_experiment(document: Mapping[str, Any], where: str) -> Experiment:
    """Validate a document.

    Raises:
        UserError: the first thing that is wrong, in one line.
    """
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, Experiment.model_fields)}") from None


def apply_override(document: dict[str, Any], override: str) -> None:
    """Set ``a.b.c=value`` in a document; the value is TOML, or else a plain string; list items go by name or number.

    Raises:
        UserError: no ``=``, or a path through something that is not a table.

    >>> document = {"arms": [{"name": "kd", "alpha": 0.5}]}
    >>> apply_override(document, "arms.kd.alpha=0.25")
    >>> document["arms"]
    [{'name': 'kd', 'alpha': 0.25}]
    """
    key, separator, text = override.partition("=")
    key = key.strip()
    if not separator or not re.fullmatch(r"[^.=\s]+(\.[^.=\s]+)*", key):
        raise UserError(f"the override {override!r} is not of the form key.path=value, e.g. -o student.depth=4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *path, last = key.split(".")
    current: Any = document
    for part in path:
        current = _enter(current, part, override)
    if isinstance(current, list):
        _replace(current, last, value, override)
    elif isinstance(current, dict):
        current[last] = value
    else:
        raise UserError(f"the override {override!r}: {'.'.join(path)} is a value, not a table")


def _enter(current: Any, part: str, override: str) -> Any:
    if isinstance(current, dict):
        return current.setdefault(part, {})
    if isinstance(current, list):
        for item in current:
            if isinstance(item, dict) and item.get("name") == part:
                return item
        if part.isdigit() and int(part) < len(current):
            return current[int(part)]
        names = [str(i.get("name")) for i in current if isinstance(i, dict)]
        raise UserError(f"the override {override!r}: there is no {part!r} in the list; it has {', '.join(names)}")
    raise UserError(f"the override {override!r}: {part!r} lies in a value, not in a table")


def _replace(items: list[Any], part: str, value: Any, override: str) -> None:
    if not (part.isdigit() and int(part) < len(items)):
        raise UserError(f"the override {override!r}: the list has the places 0 to {len(items) - 1}")
    items[int(part)] = value


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value, independent of the order of keys.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
