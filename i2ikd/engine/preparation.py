"""Before the first step of a stage: distillers measure what they need, and ratios become weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import nn

from i2ikd.distiller import Distiller, Features
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.objective import ActiveTerm, Objective
from i2ikd.engine.precision import autocast
from i2ikd.engine.seeds import seed_torch
from i2ikd.network import Student, Teacher
from i2ikd.sample import Batch

_CALIBRATION_BATCHES = 4


def prepare(objective: Objective, shared: TrainingContext, network: nn.Module, seed: int, stage: str) -> None:
    """Let every distiller prepare, then turn ratios into weights."""
    for index, term in enumerate(objective.terms):
        if type(term.distiller).prepare is not Distiller.prepare:
            seed_torch(seed, stage, "prepare", index)
            term.distiller.prepare(_teacher_features(term, shared))
    if any(term.term.ratio is not None for term in objective.terms):
        seed_torch(seed, stage, "calibrate")
        _calibrate(objective, shared, network)


def _teacher_features(term: ActiveTerm, shared: TrainingContext) -> Iterator[tuple[Features, Batch]]:
    assert shared.teacher is not None
    with Teacher(shared.teacher, term.teacher_paths) as told:
        for batch in shared.first_batches(shared.preparation_batches):
            with autocast(shared.device, shared.precision):
                output = told(batch)
            yield told.features(term.teacher_paths, output), batch


@torch.no_grad()
def _calibrate(objective: Objective, shared: TrainingContext, network: nn.Module) -> None:
    """Average every term and the reconstruction loss over the first batches, the student in eval mode."""
    sums, reconstruction, count = [0.0] * len(objective.terms), 0.0, 0
    training = network.training
    network.eval()
    paths = [path for term in objective.terms for path in term.teacher_paths]
    teacher = None if shared.teacher is None else Teacher(shared.teacher, paths)
    with teacher or nullcontext(), Student(network, objective.student_paths) as own:
        for batch in shared.first_batches(_CALIBRATION_BATCHES):
            with autocast(shared.device, shared.precision):
                said, output = None if teacher is None else teacher(batch), own(batch)
            for index, term in enumerate(objective.terms):
                told = Features() if teacher is None else teacher.features(term.teacher_paths, said)
                knowledge = term.distiller.knowledge(told, batch) if term.distiller.uses_teacher else {}
                loss = term.distiller(own.features(term.student_paths, output), knowledge, batch)
                sums[index] += float(loss["loss"] if isinstance(loss, dict) else loss)
            reconstruction += float(shared.task.loss(output.float(), batch.target))
            count += 1
    network.train(training)
    objective.calibrate([total / count for total in sums], reconstruction / count)
