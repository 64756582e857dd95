"""Sizes of the student: the combinations of swept options, and the experiment that compares them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from i2ikd.config import Arm, Comparison, Experiment, check_experiment
from i2ikd.errors import UserError

_CONTROL = "control"


@dataclass(frozen=True)
class Size:
    """One combination of options of the student.

    Attributes:
        name: such as ``depth2-channels8``, the ending of the names of its arms.
        options: of the student.
    """

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class SizedArms:
    """The arms of one size.

    Attributes:
        size: the size.
        control: name of its control.
        arms: names of the others, by the name in the experiment.
    """

    size: Size
    control: str
    arms: Mapping[str, str] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """The first arm that is not the control, or the control."""
        return next(iter(self.arms.values()), self.control)

    @property
    def names(self) -> list[str]:
        """Names of all arms, the control first."""
        return [self.control, *self.arms.values()]


def sizes(experiment: Experiment) -> list[Size]:
    """Return every combination of the swept options.

    Args:
        experiment: with a table ``[sweep.student]``.

    Raises:
        UserError: nothing is swept, or two combinations have one name.
    """
    swept = experiment.sweep.student
    if not swept:
        raise UserError(
            f"the experiment {experiment.name!r} sweeps no option; add [sweep] with values such as student.depth = "
            "[2, 3, 4]"
        )
    found = [Size(_name(values), values) for values in _combinations(swept)]
    names = [size.name for size in found]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"sweep.student: two combinations are named {repeated!r}; remove values that are equal")
    return found


def _combinations(swept: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(swept, values)) for values in itertools.product(*swept.values())]


def _name(values: Mapping[str, Any]) -> str:
    return "-".join(f"{option}{re.sub(r'[^A-Za-z0-9.]+', '_', str(value))}" for option, value in values.items())


def sized_experiment(experiment: Experiment, chosen: Sequence[Size]) -> tuple[Experiment, list[SizedArms]]:
    """Return the experiment with its arms once for each size, and the names of the arms of each size.

    Arms whose ``student`` states a swept option are kept as they are: they are inputs of others, such as a teacher. Of
    the others, the arm named by ``comparison.control``, or otherwise by ``comparison.student``, is the control; without
    it a control is added, which trains without a teacher.

    Args:
        experiment: with the arms to repeat.
        chosen: at least one size.

    Raises:
        UserError: the experiment has no arm to repeat, or an arm of a size is invalid.
    """
    swept = experiment.sweep.student
    fixed = [arm for arm in experiment.arms if arm.student.keys() & swept.keys()]
    repeated = [arm for arm in experiment.arms if arm not in fixed]
    if not repeated:
        raise UserError("search: every arm states a swept option in its student; add an arm without")
    control = _control_of(experiment, repeated)
    repeated = [control, *(arm for arm in repeated if arm.name != control.name)]
    names = {arm.name for arm in repeated}
    groups = [
        SizedArms(
            size,
            f"{control.name}-{size.name}",
            {arm.name: f"{arm.name}-{size.name}" for arm in repeated if arm.name != control.name},
        )
        for size in chosen
    ]
    arms = [*fixed, *(_sized(arm, size, names) for size in chosen for arm in repeated)]
    settings = experiment.comparison.model_dump(exclude_unset=True)
    settings.update(student="student", control="control", references=[])
    document = experiment.model_dump(mode="json", exclude_unset=True)
    document["arms"] = [arm.model_dump(mode="json", exclude_unset=True) for arm in arms]
    document["comparison"] = Comparison.model_validate(settings).model_dump(mode="json", exclude_unset=True)
    return check_experiment(document, f"the search of {experiment.name!r}"), groups


def _control_of(experiment: Experiment, repeated: Sequence[Arm]) -> Arm:
    for name in (experiment.comparison.control, experiment.comparison.student):
        for arm in repeated:
            if arm.name == name:
                return arm
    return Arm(name=_CONTROL, student=dict(repeated[0].student))


def _sized(arm: Arm, size: Size, repeated: set[str]) -> Arm:
    """Return an arm for a size; arms of the same size are its inputs."""
    document = arm.model_dump(mode="json", exclude_unset=True)
    document["name"] = f"{arm.name}-{size.name}"
    if arm.of is None:
        document["student"] = {**document.get("student", {}), **size.options}
    for key in ("teacher", "of"):
        if document.get(key) in repeated:
            document[key] = f"{document[key]}-{size.name}"
    if "inputs" in document:
        document["inputs"] = {
            role: [f"{name}-{size.name}" if name in repeated else name for name in names]
            for role, names in document["inputs"].items()
        }
    return Arm.model_validate(document)
