"""Meter of tensor memory: live storages, views, freed tensors, backward passes, and origins of allocations."""

from __future__ import annotations

import torch

from i2ikd.storage_meter import Allocation, StorageMeter


def test_views_and_in_place_operations_allocate_nothing_and_freed_tensors_do_not_count() -> None:
    image = torch.zeros(10, 10)
    with StorageMeter([image]) as meter:
        image.view(-1).add_(1)
        assert meter.peak == 400
        for _ in range(5):
            image + 1
        assert meter.peak == 800
        images = [image + 1 for _ in range(3)]
        assert meter.peak == 1600
        images.clear()
        image * 2
    assert meter.peak == 1600


def test_excluded_tensors_and_their_views_do_not_count_and_backward_passes_do() -> None:
    argument = torch.zeros(250, requires_grad=True)
    with StorageMeter(excluded=[argument]) as meter:
        product = argument * 2
        (argument + 1).detach().exp_()
        argument.detach().view(5, 50)
        assert meter.current == 1000
        product.square().sum().backward()
    assert 2000 <= meter.peak <= 4100


def test_allocations_at_the_peak_have_operator_shape_and_size() -> None:
    image = torch.zeros(10, 10)
    with StorageMeter([image]) as meter:
        total = image.sum()
        image + total
        image[:5] + 1
    assert meter.peak == 804 and meter.peak_operator == "aten.add.Tensor"
    assert meter.at_peak == (
        Allocation("", (10, 10), 400),
        Allocation("aten.sum.default", (), 4),
        Allocation("aten.add.Tensor", (10, 10), 400),
    )


def test_a_reset_restarts_the_peak_from_the_live_storages() -> None:
    image = torch.zeros(10, 10)
    with StorageMeter([image]) as meter:
        torch.cat([image, image])
        assert meter.peak == 1200
        meter.reset_peak()
        assert meter.peak == 400 and meter.at_peak == (Allocation("", (10, 10), 400),)
        image + 1
    assert meter.peak == 800


def test_a_sparse_tensor_counts_by_the_parts_it_is_made_of() -> None:
    with StorageMeter() as meter:
        indices, values = torch.zeros(2, 5, dtype=torch.int64), torch.ones(5)
        matrix = torch.sparse_coo_tensor(indices, values, (10, 10), check_invariants=True)
        assert meter.current == 80 + 20
    assert matrix.layout is torch.sparse_coo
