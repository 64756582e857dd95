"""Deep supervision equals a loop over the images between cascades, and is plain training where its weight is 0."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from i2ikd_mri_recon.network import DCCNN
from i2ikd_mri_sr.vdsr import VDSR
from i2ikd_schemes.deep_supervision import DeepSupervision
from torch import nn

from i2ikd import Batch, UserError, WeightSchedule


@pytest.mark.parametrize("reference", ["target", "teacher"])
def test_is_the_mean_over_the_images_beside_the_target(
    reference: Any,
    teacher: DCCNN,
    student: DCCNN,
    batch: Batch,
    context: Any,
    run_chain: Any,
    outputs_of: Any,
    take_gradients: Any,
    close: Any,
) -> None:
    objective = DeepSupervision(reference, weight=0.5)
    assert objective.needs == (frozenset() if reference == "target" else {"teacher"})
    objective.setup(context(student, batch, inputs={"teacher": teacher} if objective.needs else {}))
    loss = objective(batch, outputs_of(objective, teacher, batch))
    loss.total.backward()
    found = take_gradients(student)
    assert not take_gradients(teacher)

    ours = run_chain([student] * 3, batch)[1:]
    with torch.no_grad():
        theirs = run_chain([teacher] * 3, batch)[1:]
    wanted = [batch.target] * 3 if reference == "target" else theirs
    deep = torch.stack([(image - other).abs().mean() for image, other in zip(ours, wanted)]).mean()
    naive = (ours[-1] - batch.target).abs().mean() + 0.5 * deep
    naive.backward()
    assert loss.total.item() == pytest.approx(naive.item(), rel=1e-5)
    assert loss.parts["deep"].item() == pytest.approx(deep.item(), rel=1e-5)
    assert close(found, take_gradients(student))


def test_the_weight_fades_and_then_the_target_is_alone_and_nothing_is_requested(
    teacher: DCCNN, student: DCCNN, batch: Batch, context: Any, outputs_of: Any
) -> None:
    objective = DeepSupervision("teacher", weight=WeightSchedule(start=1, end=0, until=0.5))
    objective.setup(context(student, batch, inputs={"teacher": teacher}))
    shares = []
    for epoch in range(8):
        objective.on_epoch_start(epoch, 8)
        loss = objective(batch, outputs_of(objective, teacher, batch))
        shares.append(
            ((loss.total - loss.parts["target"]) / loss.parts["deep"]).item() if "deep" in loss.parts else 0.0
        )
        assert bool(objective.requests()) is ("deep" in loss.parts)
    assert shares == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0, 0, 0], abs=1e-4)
    assert torch.equal(
        objective(batch, {}).total, objective.context.target_loss(student(batch.input, **batch.conditions), batch)
    )


def test_the_teacher_s_images_are_cacheable_and_the_target_s_labelled(
    teacher: DCCNN, student: DCCNN, batch: Batch, context: Any
) -> None:
    objective = DeepSupervision("teacher")
    objective.setup(context(student, batch, inputs={"teacher": teacher}))
    (request,) = objective.requests()
    assert request.cacheable and request.paths == ("cascades.0", "cascades.1", "cascades.2")
    objective = DeepSupervision()
    objective.setup(context(student, batch))
    whole = objective(Batch(batch.input[1:], batch.target[1:], {n: t[1:] for n, t in batch.conditions.items()}), {})
    batch.labelled = torch.tensor([False, True])
    assert objective(batch, {}).total.item() == pytest.approx(whole.total.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("network", "images", "message"),
    [
        (VDSR(3, 2), None, r"at least two images between its blocks, got 1; state images"),
        (nn.Conv2d(1, 1, 1), None, r"pairs of modules \(images\) of 'none' and 'none', none are registered"),
        (
            VDSR(4, 2),
            [("layers.*", "layers.*")],
            r"images of the output's shape \[1, 12, 10\], got \[1, 12, 10\], \[2, ",
        ),
    ],
)
def test_networks_without_images_between_blocks_are_refused(
    network: nn.Module, images: Any, message: str, batch: Batch, context: Any
) -> None:
    model = "vdsr" if isinstance(network, VDSR) else "none"
    batch = Batch(batch.input, batch.target)
    with pytest.raises(UserError, match=message):
        DeepSupervision(images=images).setup(context(network, batch, models={"student": model}))
