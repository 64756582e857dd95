"""Knowledge laid into rows of bytes comes back as it was, to the last bit and in the same order in memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from i2ikd.engine.teacher_cache.codec import CachedRecords, RecordLayout, TensorLayout

CPU = torch.device("cpu")


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    if dtype.is_complex:
        return torch.complex(*torch.rand(2, *shape, generator=generator))
    return (torch.rand(*shape, generator=generator) * 100 - 30).to(dtype)


DENSE = {
    "contiguous": drawn(5, 3, 4, 2),
    "channels-last": drawn(5, 3, 4, 2).to(memory_format=torch.channels_last),
    "one channel of a channels-last convolution": drawn(5, 1, 4, 2).to(memory_format=torch.channels_last),
    "transposed maps": drawn(5, 4, 3).mT,
    "a number a sample": drawn(5),
    "half": drawn(5, 3, dtype=torch.bfloat16),
    "complex": drawn(5, 3, 2, dtype=torch.complex64),
    "logical": drawn(5, 7) > 20,
    "counts": drawn(5, 2, dtype=torch.int64),
}
GAPS = {
    "every second column": drawn(5, 3, 8)[..., ::2],
    "expanded": drawn(5, 1, 4).expand(5, 3, 4),
    "batch inside": drawn(4, 5).mT,
    "conjugate": drawn(5, 3, dtype=torch.complex64).conj(),
}


@pytest.mark.parametrize("name", DENSE)
def test_any_dense_tensor_comes_back_in_its_own_layout(name: str) -> None:
    tensor = DENSE[name]
    layout = TensorLayout.of(name, tensor)
    back = layout.unpack(layout.pack(tensor))
    assert back.dtype == tensor.dtype and torch.equal(back, tensor)
    assert back.stride()[1:] == tensor.stride()[1:]
    assert layout.pack(tensor).shape == (5, tensor[0].numel() * tensor.element_size())


@pytest.mark.parametrize("name", GAPS)
def test_what_is_not_dense_comes_back_equal(name: str) -> None:
    layout = TensorLayout.of(name, GAPS[name])
    assert torch.equal(layout.unpack(layout.pack(GAPS[name])), GAPS[name])


def test_a_later_batch_takes_the_layout_of_the_first() -> None:
    last = DENSE["channels-last"]
    layout = TensorLayout.of("map", last)
    assert torch.equal(layout.pack(last.contiguous()), layout.pack(last))


def test_rows_are_taken_by_number_in_any_order_and_again() -> None:
    knowledge = {**DENSE, "zero": torch.zeros(5, 2)}
    form = RecordLayout.of(knowledge)
    kept = CachedRecords(
        form, torch.cat([form.pack(knowledge, 5), form.pack({k: v.flip(0) for k, v in knowledge.items()}, 3)])
    )
    assert kept.rows.shape == (8, sum(t[0].numel() * t.element_size() for t in knowledge.values()))
    index = torch.tensor([6, 0, 4, 4])
    for name, tensor in kept.take(index, CPU).items():
        assert torch.equal(tensor, knowledge[name][[3, 0, 4, 4]]), name


def test_other_shapes_types_and_names_do_not_fit() -> None:
    form = RecordLayout.of({"map": torch.zeros(2, 3, 4)})
    assert form.fits({"map": torch.ones(1, 3, 4)})
    assert not form.fits({"map": torch.ones(2, 4, 3)})
    assert not form.fits({"map": torch.ones(2, 3, 4, dtype=torch.float64)})
    assert not form.fits({"image": torch.ones(2, 3, 4)})
    assert not form.fits({"map": torch.ones(2, 3, 4), "image": torch.ones(2, 1)})


@pytest.mark.parametrize("strides", [(4, 2), (8, 1), (3, 1), (0, 1), (4, 1, 1)])
def test_strides_that_do_not_fit_the_shape_are_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not fit the shape"):
        TensorLayout("map", torch.float32, (3, 4), strides)
