"""Recipes of the schemes: lists of stages whose epochs add up to those of plain training. It imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from i2ikd import RecipeContext, Reference, Stage, Start, TapPairs, Term, UserError, WeightSchedule

Epochs = Annotated[int, Field(ge=1)] | None
Blocks = TapPairs | str | None
Share = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]

_TARGET = Reference(name="target")


def _from_teacher(layers: TapPairs | None) -> Start | Literal["previous"]:
    return "previous" if layers == [] else Start.model_validate({"from": "teacher", "map": layers})


def teacher_start(
    layers: TapPairs | None = None, warmup_epochs: Annotated[int, Field(ge=0)] = 2, epochs: Epochs = None
) -> list[Stage]:
    """Plain training that starts from layers of the teacher.

    Args:
        layers: (teacher path, student path) pairs of modules of equal shape, with ``*``; unless given, those registered
            for the two models, or else the layers of equal name and shape.
        warmup_epochs: epochs over which the learning rate rises, so that the first steps do not undo the start.
        epochs: of the stage; ``training.epochs`` unless given.
    """
    start, training = _from_teacher(layers), {"warmup_epochs": warmup_epochs}
    return [
        Stage(name="reconstruction", terms=[Term(distiller=_TARGET)], start=start, training=training, epochs=epochs)
    ]


def pruned_start(
    norm: Literal["l1", "l2"] = "l2",
    warmup_epochs: Annotated[int, Field(ge=0)] = 2,
    terms: list[Term] | None = None,
    epochs: Epochs = None,
) -> list[Stage]:
    """Plain training that starts from the teacher without its least important channels (structured pruning).

    The student has the teacher's layers with fewer channels. Dependent channels are removed together.

    Args:
        norm: of the weights of a channel, which is its importance.
        warmup_epochs: epochs over which the learning rate rises, so that the first steps do not undo the start.
        terms: further terms beside the target, such as ``imitation``.
        epochs: of the stage; ``training.epochs`` unless given.
    """
    start, training = Start.model_validate({"from": "teacher", "prune": norm}), {"warmup_epochs": warmup_epochs}
    every = [Term(distiller=_TARGET), *(terms or [])]
    return [Stage(name="reconstruction", terms=every, start=start, training=training, epochs=epochs)]


def grafting(
    mode: Literal["parallel", "stochastic"] = "parallel",
    blocks: Blocks = None,
    layers: TapPairs | None = None,
    share: Share = 0.3,
    terms: list[Term] | None = None,
    epochs: Epochs = None,
) -> list[Stage]:
    """Block grafting at a constant learning rate, then the target alone along a cosine.

    The student starts from the teacher's layers. Both stages together have the epochs of plain training.

    Args:
        mode: of the objective ``block-grafting``.
        blocks: (teacher path, student path) pairs of modules with one interface, with ``*`` and ``..``; those
            registered for the two models unless given.
        layers: pairs of modules of equal shape that the student starts from, with ``*``, or ``[]`` for none; unless
            given, those registered for the two models, or else the layers of equal name and shape.
        share: of the epochs, for the grafting.
        terms: further terms of the second stage beside the target, such as a feature loss with a ratio.
        epochs: of both stages together; ``training.epochs`` unless given.
    """
    objective: dict[str, Any] = {"name": "block-grafting", "mode": mode}
    if blocks is not None:
        objective["blocks"] = blocks
    first, second = _parts(share, epochs)
    return [
        Stage(
            name="grafting",
            objective=Reference.model_validate(objective),
            start=_from_teacher(layers),
            training={"schedule": "constant"},
            **first,
        ),
        Stage(
            name="target",
            terms=[Term(distiller=_TARGET), *(terms or [])],
            training={"schedule": "cosine"},
            **second,
        ),
    ]


def quantisation_aware(
    start: str | None = None,
    target: Weight = 0.0,
    imitation: Weight = 1.0,
    lr: Annotated[float, Field(gt=0)] = 1e-4,
    share: Share = 0.2,
    epochs: Epochs = None,
) -> list[Stage]:
    """Training for int8: the objective ``quantisation-aware`` on a network that has been trained in float32.

    Args:
        start: role of the input network that is trained further (``inputs = { student = ["kd-mri"] }`` and
            ``start = "student"``); unless given, a stage of target and imitation in float32 comes first.
        target: weight of the task's loss in int8.
        imitation: weight of the distance to the teacher's image in int8.
        lr: learning rate in int8, where rounding makes large steps useless.
        share: of the epochs, for int8; with ``start`` it has all of them.
        epochs: of all stages together; ``training.epochs`` unless given.
    """
    objective = Reference.model_validate({"name": "quantisation-aware", "target": target, "imitation": imitation})
    training = {"lr": lr, "schedule": "cosine"}
    if start is not None:
        source = Start.model_validate({"from": start})
        return [Stage(name="int8", objective=objective, start=source, training=training, epochs=epochs)]
    first, second = _parts(1 - share, epochs, "quantisation-aware")
    terms = [Term(distiller=_TARGET, weight=0.5), Term(distiller=Reference(name="imitation"), weight=0.5)]
    return [
        Stage(name="float32", terms=terms, **first),
        Stage(name="int8", objective=objective, training=training, **second),
    ]


def _parts(share: float, epochs: int | None, name: str = "grafting") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the lengths of two stages that divide the epochs, as arguments of ``Stage``."""
    if epochs is None:
        return {"share": share}, {"share": 1 - share}
    if epochs < 2:
        raise UserError(f"{name}: expected at least 2 epochs, one for each stage, got epochs = {epochs}")
    first = min(max(1, int(share * epochs + 0.5)), epochs - 1)
    return {"epochs": first}, {"epochs": epochs - first}


def recommended(
    blocks: Blocks = None,
    layers: TapPairs | None = None,
    terms: list[Term] | None = None,
    epochs: Epochs = None,
    recipe_context: RecipeContext | None = None,
) -> list[Stage]:
    """The scheme to try first: ``grafting`` in parallel over 30 % of the epochs, from the teacher's layers.

    What a pair of networks does not allow is left out, and the reason is printed before training. Without blocks of one
    interface the target alone has all epochs, from the teacher's layers; without layers of equal shape the student
    starts from its own initial weights. Without both there is nothing to recommend, which is an error. Blocks and
    layers that are stated are never left out.

    Blocks and layers are registered for two ``dc-cnn``, two ``vdsr`` and two ``upsampling-cnn``, whose blocks are
    groups of layers. For other networks blocks are an option: modules of the two networks, or ranges of them, that can
    take each other's place.

    Args:
        blocks: (teacher path, student path) pairs of modules with one interface, with ``*`` and ``..``; those
            registered for the two models unless given.
        layers: pairs of modules of equal shape that the student starts from, with ``*``, or ``[]`` for none; unless
            given, those registered for the two models, or else the layers of equal name and shape.
        terms: further terms of the last stage beside the target, such as a feature loss with a ratio.
        epochs: of both stages together; ``training.epochs`` unless given.
        recipe_context: of the networks; ``None``: they allow all of it.
    """
    graft, target = grafting("parallel", blocks, layers, 0.3, terms, epochs)
    if recipe_context is None:
        return [graft, target]
    no_layers = recipe_context.problem(target.model_copy(update={"start": graft.start})) if layers is None else ""
    no_blocks = recipe_context.problem(graft.model_copy(update={"start": "previous"})) if blocks is None else ""
    if no_layers and no_blocks:
        raise UserError(
            "recommended: expected blocks or layers that the two networks have in common, got neither; set recipe = "
            f"'fading-imitation', which needs none, or state them (blocks: {no_blocks}; layers: {no_layers})"
        )
    if no_blocks:
        recipe_context.leave_out("block grafting", no_blocks)
        warm_up = {"schedule": "cosine", "warmup_epochs": 2}
        return [Stage(name="target", terms=target.terms, start=graft.start, training=warm_up, epochs=epochs)]
    if no_layers:
        recipe_context.leave_out("start from the teacher's layers", no_layers)
        return [graft.model_copy(update={"start": "previous"}), target]
    return [graft, target]


def fading_imitation(
    start: Share = 0.3,
    until: Annotated[float, Field(gt=0, le=1)] = 0.6,
    loss: Literal["l1", "mse", "charbonnier"] = "l1",
    epochs: Epochs = None,
) -> list[Stage]:
    """Target and imitation in one stage, alpha * target + (1 - alpha) * imitation, alpha rising from ``start`` to 1.

    Imitation helps as long as the teacher is clearly better than the student, and holds it back later.

    Args:
        start: alpha in the first epoch.
        until: share of the epochs after which alpha is 1.
        loss: of the imitation.
        epochs: of the stage; ``training.epochs`` unless given.
    """
    imitation = Reference.model_validate({"name": "imitation", "loss": loss})
    terms = [
        Term(distiller=_TARGET, weight=WeightSchedule(start=start, end=1.0, until=until)),
        Term(distiller=imitation, weight=WeightSchedule(start=1 - start, end=0.0, until=until)),
    ]
    return [Stage(name="fading", terms=terms, epochs=epochs)]


def deep_supervision(
    reference: Literal["target", "teacher"] = "target",
    images: TapPairs | None = None,
    weight: Weight | WeightSchedule | None = None,
    epochs: Epochs = None,
) -> list[Stage]:
    """Plain training with a loss on the image after every block, which fades out.

    Args:
        reference: of the images: the target, without a teacher, or the teacher's images.
        images: (teacher path, student path) pairs of modules that return images, with ``*``; those registered for the
            two models unless given.
        weight: of the further loss: a number, or ``{start, end, until}``; from 1 to 0 over 60 % of the epochs unless
            given.
        epochs: of the stage; ``training.epochs`` unless given.
    """
    options = {"images": images, "weight": weight}
    return [_stage("deep-supervision", {"reference": reference, **options}, epochs)]


def unlabelled_imitation(
    target: Weight = 1.0,
    imitation: Weight = 0.0,
    weight: Weight | WeightSchedule = 1.0,
    batch: Annotated[int, Field(ge=1)] | None = None,
    epochs: Epochs = None,
) -> list[Stage]:
    """Plain training, and in every step imitation of the teacher on unlabelled samples.

    Args:
        target: weight of the target; 0 with ``imitation = 0``: imitation on unlabelled samples alone.
        imitation: weight of the imitation on labelled samples.
        weight: of the imitation on unlabelled samples: a number, or ``{start, end, until}``.
        batch: unlabelled samples per step; as many as labelled ones unless given.
        epochs: of the stage; ``training.epochs`` unless given.
    """
    options = {"target": target, "imitation": imitation, "weight": weight, "batch": batch}
    return [_stage("unlabelled-imitation", options, epochs)]


def _stage(objective: str, options: dict[str, Any], epochs: int | None) -> Stage:
    """Return the one stage of a recipe that is named like its objective, without options that are not set."""
    stated = {
        name: value.model_dump() if isinstance(value, WeightSchedule) else value
        for name, value in options.items()
        if value is not None
    }
    return Stage(name=objective, objective=Reference.model_validate({"name": objective, **stated}), epochs=epochs)


def student_friendly(
    blocks: Blocks = None, branch: Weight = 1.0, imitation: Weight = 1.0, epochs: Epochs = None
) -> list[Stage]:
    """Training of a teacher with branches of student blocks: ``[teacher] recipe = "student-friendly"``.

    An arm whose first stage has ``start = { from = "teacher", network = "student" }`` goes on from the branches.

    Args:
        blocks: (teacher path, student path) pairs of modules with one interface, with ``*`` and ``..``; those
            registered for the two models unless given.
        branch: weight of the branches' loss on the target.
        imitation: weight of their distance to the teacher's image.
        epochs: of the stage; ``training.epochs`` unless given.
    """
    objective: dict[str, Any] = {"name": "student-friendly", "branch": branch, "imitation": imitation}
    if blocks is not None:
        objective["blocks"] = blocks
    return [Stage(name="student-friendly", objective=Reference.model_validate(objective), epochs=epochs)]
