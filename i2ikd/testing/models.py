"""Conformance check of networks: ``check_model``."""

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
        factory: returns a new network, always with the same options.
        sample_batch: at least 2 samples.
        relates_samples: whether an output may depend on the other samples of the batch in eval mode.
        tolerance: of the output of one sample alone and in a batch, relative to the largest output.

    Raises:
        AssertionError: a violated rule, named in the message.
    """
    torch.manual_seed(0)
    network = factory()
    assert isinstance(network, nn.Module), f"the factory returns a {type(network).__name__}, not an nn.Module"
    name = type(network).__name__
    original = sample_batch.input.clone()

    network.train()
    output = apply(network, sample_batch)
    assert output.dtype == sample_batch.target.dtype, (
        f"{name} returns {output.dtype}, the target is {sample_batch.target.dtype}"
    )
    assert torch.isfinite(output).all(), f"{name}: the output of a new network is not finite"
    output.square().mean().backward()
    for path, parameter in network.named_parameters():
        has_gradient = parameter.grad is not None or not parameter.requires_grad
        assert has_gradient, f"{name}: no gradient reaches its parameter {path!r}"
    assert torch.equal(original, sample_batch.input), f"{name} changes its input in place"

    network.eval()
    first = _output(network, sample_batch)
    assert torch.equal(first, _output(network, sample_batch)), f"{name} returns two outputs for one input in eval mode"
    copy = factory()
    copy.load_state_dict(network.state_dict())
    copy.eval()
    assert torch.equal(first, _output(copy, sample_batch)), (
        f"{name}: a new network with its state_dict loaded returns another output: keep everything in parameters or "
        "buffers"
    )
    assert len(sample_batch) > 1, "check_model needs a batch of at least 2 samples"
    if not relates_samples:
        alone = _output(network, _first(sample_batch))
        scale = float(first.abs().max()) + 1e-12
        assert float((alone[0] - first[0]).abs().max()) <= tolerance * scale, (
            f"{name}: in eval mode the output of a sample depends on the other samples of the batch"
        )


@torch.no_grad()
def _output(network: nn.Module, batch: Batch) -> Tensor:
    """Run a network without gradients."""
    return apply(network, batch)


def _first(batch: Batch) -> Batch:
    """Return the batch of the first sample alone."""
    conditions = {name: value[:1] for name, value in batch.conditions.items()}
    return Batch(batch.input[:1], batch.target[:1], conditions, batch.keys[:1])
