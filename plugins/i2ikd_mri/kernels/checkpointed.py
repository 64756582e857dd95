"""Activation checkpointing of a cheap first layer, which halves the activation memory of a small network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from i2ikd_mri.kernels.capture import is_captured
from i2ikd_mri.kernels.convolution import has_hooks


def checkpointed(first: nn.Module, second: nn.Module, image: Tensor) -> Tensor:
    """Compute ``second(first(image))``, and recompute the output of ``first`` in the backward pass on a CPU.

    For a ``first`` of low cost and large output, such as a convolution from 1 to 32 channels: its features are not
    stored for the backward pass but recomputed from the image, with bit-identical values. Features are stored as usual
    if a module of ``first`` has hooks, under autocast, on other devices, when compiled or traced, and when ``second``
    changes them in place.

    Args:
        first: a function of its input and weights alone (no dropout, no batch statistics).
        second: the module applied to its output.
        image: [B, C, H, W].

    Returns:
        The output of ``second``.
    """
    plain = (
        not torch.is_grad_enabled()
        or image.device.type != "cpu"
        or torch.is_autocast_enabled("cpu")
        or is_captured()
        or any(has_hooks(module) for module in first.modules())
    )
    if plain:
        output: Tensor = second(first(image))
        return output
    saved = list[_Saved]()

    def pack(tensor: Tensor) -> _Saved:
        saved.append(_Saved(tensor))
        return saved[-1]

    with saved_tensors_hooks(pack, _Saved.get):
        features = first(image)
        version = features._version
        output = second(features)
    # After an in-place change the saved tensor is no longer the output of ``first``.
    unchanged = features._version == version
    intermediate = [tensor for tensor in saved if unchanged and tensor.is_of(features)]
    recomputation = _Recomputation(first, image.detach(), uses=len(intermediate))
    for tensor in intermediate:
        tensor.source = recomputation
    saved.clear()
    return output


class _Saved:
    """Tensor saved for the backward pass, or the recomputation that replaces it."""

    def __init__(self, tensor: Tensor) -> None:
        self.source: Tensor | _Recomputation = tensor

    def is_of(self, features: Tensor) -> bool:
        """Whether the saved tensor shares memory and layout with ``features``."""
        tensor = self.source
        assert isinstance(tensor, Tensor)
        same_storage = tensor.untyped_storage().data_ptr() == features.untyped_storage().data_ptr()
        return same_storage and tensor.shape == features.shape and tensor.stride() == features.stride()

    def get(self) -> Tensor:
        """Return the tensor, recomputed if necessary."""
        return self.source if isinstance(self.source, Tensor) else self.source.get()


class _Recomputation:
    """Recompute features once for all their uses in a backward pass, then free them."""

    def __init__(self, first: nn.Module, image: Tensor, uses: int) -> None:
        self._first = first
        self._image = image
        self._uses = uses
        self._remaining = 0
        self._features: Tensor | None = None

    @torch.no_grad()
    def get(self) -> Tensor:
        """Return the features [B, C, H, W] and free them after their last use."""
        if self._features is None:
            self._features, self._remaining = self._first(self._image), self._uses
        features, self._remaining = self._features, self._remaining - 1
        if self._remaining == 0:
            self._features = None
        return features
