"""Schema of an experiment, validated by pydantic before any run starts; digest of a configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from i2ikd.config_file import apply_override as apply_override
from i2ikd.config_file import names_another, read_document, refuse_unwritable_text
from i2ikd.errors import UserError, nearest
from i2ikd.limits import at_most
from i2ikd.options import explain
from i2ikd.recipe import ComponentRef, Pairs, Reference

Seed = Annotated[NonNegativeInt, at_most(2**31 - 1, "generators take 31 bits")]


class Training(BaseModel):
    """Training settings of a stage; every stage of every arm uses them unless it overrides them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    epochs: Annotated[PositiveInt, at_most(1_000_000, "each is a pass over the training split")] = 150
    batch: Annotated[PositiveInt, at_most(1_000_000, "its slices are in memory together")] = 4
    optimizer: str = "adam"
    """A name accepted by timm's ``create_optimizer_v2``."""
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    schedule: Literal["constant", "step", "cosine"] = "step"
    decay_epochs: Annotated[PositiveInt, at_most(2**31, "no stage is longer")] = 40
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    min_lr: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    warmup_epochs: Annotated[NonNegativeInt, at_most(2**31, "no stage is longer")] = 0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of the exponential moving average of the trained parameters; ``None``: no average. Of a weight that a
    transform computes from several parameters, these are averaged."""
    clip_grad: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Maximum norm of the gradient of all trained parameters, a method's own ones included; ``None``: no clipping."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    augmentations: tuple[str, ...] = ()
    """Random augmentations of the task (``flip``, ``shift``, ...)."""
    select: Literal["best", "last"] = "best"
    """Final weights of a stage: those with the lowest validation loss, or the last."""
    validate_every: Annotated[PositiveInt, at_most(2**31, "no stage is longer")] | None = None
    """Epochs between validations; ``None``: as often as costs at most a tenth of the training time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: Annotated[NonNegativeInt, at_most(256, "each is a process that opens the data")] = 0
    """Processes that read data. Slices stay in memory after the first epoch, so 0 suffices for most data."""
    cache_mib: Annotated[NonNegativeInt, at_most(2**30, "it is memory in MiB")] = 2048
    """Memory of the teacher cache per term, in MiB; 0 disables the cache."""
    cache_disk_mib: Annotated[NonNegativeInt, at_most(2**30, "it is disk space in MiB")] = 8192
    """Disk space of the teacher cache for all terms of an output folder, in MiB; 0: memory only."""

    def identity(self) -> dict[str, Any]:
        """Return the settings that the results depend on."""
        return self.model_dump(mode="json", exclude={"workers", "cache_mib", "cache_disk_mib"})


class Network(BaseModel):
    """Network: ``model`` by name or ``import:package.module:factory``, its options, and the weights of a teacher."""

    model_config = ConfigDict(extra="allow", frozen=True)
    model: str
    weights: Path | None = None
    """Weights of a trained teacher, which is then not trained: the folder of a run or of a bundle, ``zoo:NAME``, or a
    file with a state dict."""
    recipe: ComponentRef = Reference(name="student")
    """Recipe of a teacher's training; arms state their own recipes."""
    transforms: list[ComponentRef] = Field(default_factory=list)
    """Transforms of the network, during training or after it, in order."""
    ensemble: Annotated[PositiveInt, at_most(100, "each member is trained and evaluated")] = 1
    """Number of networks, trained with different seeds, that form the teacher."""
    combine: ComponentRef = Reference(name="mean")
    """Component that combines the networks of an ensemble into one."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings of ``[training]`` that this network overrides."""

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the factory."""
        return dict(self.model_extra or {})


def _has_name(value: Any) -> Any:
    """Refuse a ``[task]`` without a name."""
    if isinstance(value, Mapping) and "name" not in value:
        raise ValueError("the key 'name' is missing; `i2ikd list tasks` shows what there is")
    return value


LONGEST_NAME = 100
"""Characters of the name of an experiment or an arm, which is part of paths."""


class Arm(BaseModel):
    """Arm of the comparison, one row of the table: a recipe with its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=LONGEST_NAME)]
    recipe: str = "student"
    student: dict[str, Any] = Field(default_factory=dict)
    """Options of ``[student]`` that this arm overrides, such as ``depth``. With another ``model``, all options of that
    model; ``training`` and ``transforms`` remain those of ``[student]``."""
    teacher: str | None = None
    """Another arm whose network is this arm's teacher; ``None``: the experiment's teacher."""
    inputs: dict[str, list[str]] = Field(default_factory=dict)
    """Arms whose networks fill further roles (``{assistant = ["kd-mri"]}``); several of one role are combined."""
    of: str | None = None
    """Another arm whose trained network this arm reuses: nothing is trained, only ``transforms`` are applied."""
    transforms: list[ComponentRef] = Field(default_factory=list)
    """Transforms of the network after those of ``[student]``, in order."""

    @property
    def needed_arms(self) -> list[str]:
        """Names of the arms whose networks are inputs of this arm."""
        stated = [name for names in self.inputs.values() for name in names]
        return [*stated, *(name for name in (self.teacher, self.of) if name is not None)]

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the recipe."""
        return dict(self.model_extra or {})


def _refuse_training(arm: Arm, of: Arm) -> None:
    """Refuse settings without effect in an arm that reuses the network of another arm."""
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
    """Refuse an arm that directly or indirectly needs its own network."""
    path, waiting = [arm.name], [(arm, [arm.name])]
    while waiting:
        current, path = waiting.pop()
        for name in current.needed_arms:
            if name in path:
                raise ValueError(f"the arms {' -> '.join([*path, name])} need each other")
            if name in arms:
                waiting.append((arms[name], [*path, name]))


class Comparison(BaseModel):
    """Reference arms and further columns of the comparison, and whether latency is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    student: str = "student"
    control: str = "control"
    references: list[str] = Field(default_factory=list)
    """Further arms to compute differences to."""
    metrics: dict[str, ComponentRef] = Field(default_factory=dict)
    """Further columns of the table: metrics, with options, by column name."""
    latency: bool = True
    threads: list[Annotated[PositiveInt, at_most(1024, "each is a CPU core")]] = Field(default_factory=list)
    """Numbers of CPU threads that latency is measured with; empty: the number that torch has."""


class Sweep(BaseModel):
    """Options of the student that ``i2ikd search`` combines; other commands ignore them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    student: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """Values by option of the student, such as ``depth = [2, 3, 4]``."""


class Card(BaseModel):
    """Statements for the model cards of bundles; no result depends on them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    data: str = ""
    """Name and origin of the data."""
    data_licence: str = ""
    """Licence of the data, such as ``CC BY-SA 3.0``."""
    attribution: str = ""
    """Attribution that the licence of the data requires."""
    licence: str = ""
    """Licence of the trained networks."""
    limits: str = ""
    """Limits of use beside those that every card has."""
    citation: list[str] = Field(default_factory=list)
    """Works to cite beside the papers of the components."""
    command: str = ""
    """Command that trains the networks."""


class Experiment(BaseModel):
    """Schema of an experiment file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST_NAME)]
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=1000)] = [0]
    task: Annotated[Reference, BeforeValidator(_has_name)]
    teacher: Network
    student: Network
    training: Training = Training()
    pairs: Pairs | None = None
    arms: Annotated[list[Arm], Field(min_length=1)]
    comparison: Comparison = Comparison()
    trackers: list[ComponentRef] = Field(default_factory=list)
    """Trackers that receive the numbers of every epoch, e.g. ``[{ name = "json-lines", path = "log.jsonl" }]``."""
    card: Card = Card()
    sweep: Sweep = Sweep()

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("the seeds must differ from each other")
        return seeds

    @model_validator(mode="after")
    def _distinct_arms(self) -> Experiment:
        names = [arm.name for arm in self.arms]
        folded: dict[str, str] = {}
        for name in names:
            other = folded.setdefault(name.lower(), name)
            if other != name:
                raise ValueError(
                    f"the arms {other!r} and {name!r} differ in case only, and share a folder on some file systems"
                )
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two arms are named {name!r}")
            if name == "teacher":
                raise ValueError("an arm cannot be named 'teacher': that is the teacher's row")
        for key in ("student", "control"):
            reference = getattr(self.comparison, key)
            if reference not in names and reference != key:  # the default references are optional
                raise ValueError(f"comparison.{key} names no arm; {nearest(reference, names)}")
        for reference in self.comparison.references:
            if reference not in names:
                raise ValueError(f"comparison.references names no arm {reference!r}; {nearest(reference, names)}")
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
        """Return ``[student]`` with the overrides of an arm; an arm with another model has none of its options.

        Args:
            arm: Arm of this experiment.

        Raises:
            UserError: an override of a wrong type.
        """
        stated = self.student.model_dump()
        if names_another(stated, arm.student):
            stated = {key: value for key, value in stated.items() if key in Network.model_fields}
        try:
            return Network.model_validate({**stated, **arm.student})
        except ValidationError as error:
            raise UserError(f"arm {arm.name!r}, student: {explain(error, Network.model_fields)}") from None

    def arm(self, name: str) -> Arm:
        """Return the arm of a name.

        Args:
            name: Name of the arm.

        Raises:
            UserError: no arm has this name; the message contains the nearest one.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UserError(
            f"the experiment {self.name!r} has no arm {name!r}; {nearest(name, [a.name for a in self.arms])}"
        )


def merge_training(base: Training, changes: Mapping[str, Any], where: str) -> Training:
    """Return ``base`` with ``changes`` applied.

    Args:
        base: Settings to start from.
        changes: Values by name of the setting.
        where: Prefix of error messages, such as the name of the stage.

    Raises:
        UserError: an unknown setting or a value of a wrong type.
    """
    try:
        return Training.model_validate({**base.model_dump(), **changes})
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, Training.model_fields)}") from None


def read_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment from a TOML file.

    Relative folders in the file (``task.dataset.root``, ``teacher.weights``) stay as written: they are relative to
    the working directory of the command. ``base`` alone is relative to the file itself.

    Args:
        path: TOML file; its ``base``, if any, is merged in first.
        overrides: ``key.path=value`` texts, applied in order after merging.

    Raises:
        UserError: a file that cannot be read or parsed, a cycle of bases, or a wrong key, with the nearest known name.
    """
    return check_experiment(read_document(path, overrides), str(path))


def check_experiment(document: Mapping[str, Any], where: str) -> Experiment:
    """Validate a document.

    Args:
        document: Parsed TOML or JSON of an experiment.
        where: Prefix of error messages, such as the path of the file.

    Raises:
        UserError: the first invalid key, in one line.
    """
    refuse_unwritable_text(document, where)
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, Experiment.model_fields)}") from None


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value as 64 hexadecimal digits, independent of the order of keys.

    Args:
        value: Any nesting of JSON values.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
