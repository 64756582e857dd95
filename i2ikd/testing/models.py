"""What every network must satisfy: ``check_model``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from i2ikd.network import apply
from i2ikd.sample import Batch


def check_model(
    factory: Callable[[], nn.Module], sample_batch: Batch, *, relates_samples: bool = False, tolerance: float = 1e-4
) -> None:
    """Check a network on a batch of its task.

    Args:
        factory: makes a fresh network, always with the same options.
        sample_batch: at least 2 samples.
        relates_samples: whether an output may depend on batch mates in eval mode.
        tolerance: of a sample alone against the same sample in a batch, relative to the largest output.

    Raises:
        AssertionError: with a sentence that says which rule is broken.
    """
    torch.manual_seed(0)
    network = factory()
    assert isinstance(network, nn.Module), f"the factory gives a {type(network).__name__}, not an nn.Module"
    name = type(network).__name__
    given = sample_batch.input.clone()

    network.train()
    output = apply(network, sample_batch)
    assert output.dtype == sample_batch.target.dtype, (
        f"{name} gives {output.dtype}, the target is {sample_batch.target.dtype}"
    )
    assert torch.isfinite(output).all(), f"{name}: the output of a fresh network is not finite"
    output.square().mean().backward()
    for path, parameter in network.named_parameters():
        reached = parameter.grad is not None or not parameter.requires_grad
        assert reached, f"{name}: no gradient reaches its parameter {path!r}"
    assert torch.equal(given, sample_batch.input), f"{name} changes the input it is given"

    network.eval()
    first = _see(network, sample_batch)
    assert torch.equal(first, _see(network, sample_batch)), f"{name} gives two outputs for one input in eval mode"
    fresh = factory()
    fresh.load_state_dict(network.state_dict())
    fresh.eval()
    assert torch.equal(first, _see(fresh, sample_batch)), (
        f"{name}: a fresh network with its state_dict loaded gives another output: keep everything in parameters or "
        "buffers"
    )
    assert len(sample_batch) > 1, "check_model needs a batch of at least 2 samples"
    if not relates_samples:
        alone = _see(network, _first(sample_batch))
        scale = float(first.abs().max()) + 1e-12
        assert float((alone[0] - first[0]).abs().max()) <= tolerance * scale, (
            f"{name}: in eval mode the output of a sample depends on its batch mates"
        )


@torch.no_grad()
def _see(network: nn.Module, batch: Batch) -> Tensor:
    return apply(network, batch)


def _first(batch: Batch) -> Batch:
    conditions = {name: value[:1] for name, value in batch.conditions.items()}
    return Batch(batch.input[:1], batch.target[:1], conditions, batch.keys[:1])
