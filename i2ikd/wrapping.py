"""Wrappers that run a network without changing what it is: ``torch.compile``, ``DataParallel`` and the like."""

from __future__ import annotations

from torch import nn


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside wrappers, whose ``forward`` has its signature and whose modules have its paths.

    Args:
        network: a network, or one inside ``torch.compile``, ``DataParallel`` or ``DistributedDataParallel``.

    >>> inner = nn.Conv2d(1, 1, 1)
    >>> unwrapped(nn.DataParallel(inner)) is inner, unwrapped(inner) is inner
    (True, True)
    """
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module
        elif isinstance(compiled := getattr(network, "_orig_mod", None), nn.Module):
            network = compiled
        else:
            return network
