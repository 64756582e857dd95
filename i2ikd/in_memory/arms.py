"""Arms of a comparison from recipes, stages and distillers, and its equal-budget control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from i2ikd.distiller import Distiller
from i2ikd.engine.plan import PlannedStage
from i2ikd.errors import UserError
from i2ikd.in_memory.objects import Method, Objects
from i2ikd.recipe import Stage, Term

ArmLike = Method | Mapping[str, Any]
"""A method, or a table with ``name``, ``recipe`` (a method) and the options of the recipe."""

STUDENT, CONTROL = "student", "control"


def arm_documents(arms: Sequence[ArmLike] | Mapping[str, ArmLike], objects: Objects) -> list[dict[str, Any]]:
    """Return arms as an experiment states them.

    Args:
        arms: methods or tables; or these by name of the arm.
        objects: registers distillers that are passed as objects.

    Raises:
        UserError: no arms, or one of another form.
    """
    if isinstance(arms, str | Stage) or not isinstance(arms, Sequence | Mapping):
        raise UserError(f"arms: expected a list of arms, got {_described(arms)}; write arms=[...]")
    if not arms:
        raise UserError("arms: expected at least one, got an empty list; `i2ikd list recipes` shows what there is")
    if isinstance(arms, Mapping):
        return [_document(arm, objects, str(name)) for name, arm in arms.items()]
    return [_document(arm, objects) for arm in arms]


def _document(arm: ArmLike, objects: Objects, name: str | None = None) -> dict[str, Any]:
    """Return one arm as a table."""
    where = "arms" if name is None else f"arms[{name!r}]"
    if isinstance(arm, Mapping):
        stated = dict(arm)
        method = stated.pop("recipe", stated.get("name", name))
        name = str(stated.pop("name", name or ""))
        if not name:
            raise UserError(f"{where}: expected a table with 'name' or 'recipe', got {', '.join(map(repr, arm))}")
        where = f"arm {name!r}"
        return {"name": name, **method_document(method, stated, objects, where)}
    document = method_document(arm, {}, objects, where)
    if name is None:
        name = _name_of(arm)
    return {"name": name, **document}


def _name_of(arm: ArmLike) -> str:
    """Return the name of an arm that states none."""
    if isinstance(arm, str):
        return arm
    if isinstance(arm, Distiller | type):
        return arm.__name__ if isinstance(arm, type) else type(arm).__name__
    raise UserError("arms: stages have no name of their own; write {'name': ..., 'recipe': [Stage(...)]}")


def method_document(method: Any, options: Mapping[str, Any], objects: Objects, where: str) -> dict[str, Any]:
    """Return a method as ``recipe`` with its options.

    Args:
        method: recipe by name, a stage, stages, or a distiller.
        options: of the recipe; of ``joint`` for a distiller.
        objects: registers distillers that are passed as objects.
        where: prefix of error messages.

    Raises:
        UserError: another kind of object, or options of stages.
    """
    if isinstance(method, str):
        return {"recipe": method, **objects.named(options, where)}
    stages = [method] if isinstance(method, Stage) else method
    if isinstance(stages, list | tuple) and stages and all(isinstance(stage, Stage) for stage in stages):
        if options.keys() - {"student", "teacher", "inputs", "transforms"}:
            raise UserError(f"{where}: the stages have no option {min(options)!r}; change the stages themselves")
        return {"recipe": "custom", "stages": objects.named(stages, where), **options}
    if isinstance(method, Distiller) or (isinstance(method, type) and issubclass(method, Distiller)):
        return {"recipe": "joint", "distiller": objects.named(method, where), **objects.named(options, where)}
    raise UserError(
        f"{where}: expected the name of a recipe, i2ikd.Stage objects or an i2ikd.Distiller, got {_described(method)}"
    )


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    inner = {type(part).__name__ for part in value} if isinstance(value, list | tuple) else set()
    return f"a {type(value).__name__}" + (f" of {', '.join(sorted(inner))}" if inner else "")


def control_document(stages: Sequence[PlannedStage], epochs: int) -> dict[str, Any]:
    """Return the equal-budget control of an arm: its stages, with their steps and settings, on the target alone.

    Args:
        stages: of the arm that trains its student longest.
        epochs: of the experiment.
    """
    if len(stages) == 1 and stages[0].epochs == epochs and not stages[0].stage.training:
        return {"name": CONTROL, "recipe": "student"}
    target = Term(distiller="target")
    made = [
        Stage(name=f"reconstruction-{number}", terms=[target], epochs=one.epochs, training=one.stage.training)
        for number, one in enumerate(stages, start=1)
    ]
    return {
        "name": CONTROL,
        "recipe": "custom",
        "stages": [stage.model_dump(mode="json", exclude_defaults=True) for stage in made],
    }
