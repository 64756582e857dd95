"""Features that are cheaper to compute again than to keep: half of what a small network's training holds in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from i2ikd_mri.kernels.convolution import has_hooks


def checkpointed(first: nn.Module, second: nn.Module, image: Tensor) -> Tensor:
    """Return ``second(first(image))``, and in training on a CPU do not keep what is between for the backward pass.

    For a ``first`` that costs little and gives much, as a convolution from one channel to 32: its features are computed
    again from the image when the backward pass comes to them, and are the same bit by bit. ``first`` must be a function
    of its input and weights alone (no dropout, no statistics). Where a hook listens inside ``first``, under autocast,
    on other devices and when compiled, everything is kept as usual.
    """
    plain = (
        not torch.is_grad_enabled()
        or image.device.type != "cpu"
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
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
    untouched = features._version == version  # otherwise what was saved is not what ``first`` gives
    between = [one for one in saved if untouched and one.is_of(features)]
    again = _Again(first, image.detach(), askers=len(between))
    for one in between:
        one.source = again
    saved.clear()
    return output


class _Saved:
    """A tensor that the backward pass needs, or what computes it again."""

    def __init__(self, tensor: Tensor) -> None:
        self.source: Tensor | _Again = tensor

    def is_of(self, features: Tensor) -> bool:
        tensor = self.source
        assert isinstance(tensor, Tensor)
        same_place = tensor.untyped_storage().data_ptr() == features.untyped_storage().data_ptr()
        return same_place and tensor.shape == features.shape and tensor.stride() == features.stride()

    def get(self) -> Tensor:
        return self.source if isinstance(self.source, Tensor) else self.source.get()


class _Again:
    """Computes features once for all who ask for them in a backward pass, and then lets go of them."""

    def __init__(self, first: nn.Module, image: Tensor, askers: int) -> None:
        self._first = first
        self._image = image
        self._askers = askers
        self._waiting = 0
        self._features: Tensor | None = None

    @torch.no_grad()
    def get(self) -> Tensor:
        if self._features is None:
            self._features, self._waiting = self._first(self._image), self._askers
        features, self._waiting = self._features, self._waiting - 1
        if self._waiting == 0:
            self._features = None
        return features
