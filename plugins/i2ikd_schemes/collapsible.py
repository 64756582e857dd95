"""Collapsible convolutions: linear over-parameterisation in training, folded to the same plain convolutions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from i2ikd import Batch, Task, Transform, UserError
from i2ikd.taps import expand


class CollapsedWeight(nn.Module):
    """Parametrisation of a convolution's weight as the sum W + B A + P of linear branches.

    Args:
        weight: [outputs, inputs, k, k] of the plain convolution.
        expansion: outputs of A for each output of the convolution.
        pointwise: whether P exists; it needs a k above 1, or it would be W once more.
    """

    def __init__(self, weight: Tensor, expansion: int, pointwise: bool) -> None:
        super().__init__()
        outputs, inputs, height, width = weight.shape
        hidden = expansion * outputs
        self.first = nn.Parameter(weight.new_empty(hidden, inputs, height, width))
        self.second = nn.Parameter(weight.new_empty(outputs, hidden))
        nn.init.uniform_(self.first, *_bounds(inputs * height * width))
        nn.init.uniform_(self.second, *_bounds(hidden))
        odd = height % 2 == 1 and width % 2 == 1 and height * width > 1
        self.centre = nn.Parameter(weight.new_zeros(outputs, inputs)) if pointwise and odd else None

    def _branches(self) -> Tensor:
        """Return B A + P as a kernel [outputs, inputs, k, k], in the precision of the parameters under autocast too."""
        with torch.autocast(self.first.device.type, enabled=False):
            kernel = torch.einsum("oh,hikl->oikl", self.second, self.first)
            if self.centre is not None:
                _, _, height, width = kernel.shape
                padding = (width // 2, width // 2, height // 2, height // 2)
                kernel = kernel + nn.functional.pad(self.centre[:, :, None, None], padding)
        return kernel

    def forward(self, plain: Tensor) -> Tensor:
        """Return the weight that the convolution uses, of its parameter W."""
        return plain + self._branches()

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the W with which the convolution uses ``weight``."""
        return weight - self._branches()


def _bounds(fan_in: int) -> tuple[float, float]:
    """Return the bounds of torch's default initialisation of a convolution."""
    return -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in)


class Collapsible(Transform):
    """Training with W + B A + P as the weight of every ``Conv2d``; the finished network has plain convolutions.

    A has k x k kernels and ``expansion`` times the outputs, B mixes them to the outputs (1 x 1), P is a 1 x 1 kernel at
    the centre. The network computes what it computed before: A and B start as torch initialises convolutions, P as 0,
    W as the plain weight minus B A + P. The weight is added up before each use, so that a step costs one convolution,
    as before. Parameters, operations and values of the folded network are those of a plain one.

    Papers: Ding et al., "RepVGG", arXiv:2101.03697; Bhardwaj et al., "Collapsible linear blocks for super-efficient
    super resolution" (SESR), arXiv:2103.09404.

    Deviation: kernels are added up in training too, as in SESR's efficient training; no normalisation in the branches,
    which images do without, and no identity, which P contains.

    Learning rate: all parts of a weight move in a step, so that the first step of Adam changes it by about twice the
    learning rate, at any number of channels. A deep network that trains at 1e-3 may need 3e-4 with this.

    With ``training.ema`` the branches are averaged, as in the published training of RepVGG-like networks, and their
    averages are folded: the network that is validated is the one that is saved. The average of the folded weights
    differs from it by the covariance of B and A over the average's window.

    Left as they are: convolutions with groups (B would mix channels of unlike groups), transposed ones, and weights
    that are computed from others already.

    Args:
        expansion: outputs of A for each output of the convolution.
        pointwise: whether P exists; convolutions of 1 x 1 and of even kernels have none.
        exclude: paths of modules, with ``*``, whose convolutions stay plain.
    """

    when: ClassVar[Literal["training", "trained"]] = "training"

    def __init__(
        self,
        expansion: Annotated[int, Field(ge=1)] = 4,
        pointwise: bool = True,
        exclude: list[str] | None = None,
    ) -> None:
        self._expansion = expansion
        self._pointwise = pointwise
        self._exclude = exclude or []

    def apply(self, network: nn.Module, batches: Iterable[Batch], task: Task) -> nn.Module:
        """Parametrise the weights in place.

        Raises:
            UserError: a path that matches nothing, no convolution, or two convolutions that share a weight.
        """
        excluded = {path for pattern in self._exclude for path in expand(network, pattern, "trained network")}
        found: dict[int, str] = {}
        for path, module in list(network.named_modules()):
            if not _is_plain(module) or any(path == part or path.startswith(part + ".") for part in excluded):
                continue
            weight = module.weight
            assert isinstance(weight, Tensor)
            if id(weight) in found:
                raise UserError(
                    f"collapsible: expected a weight for each convolution, got one of {found[id(weight)]!r} and "
                    f"{path!r}; set exclude to leave both plain"
                )
            found[id(weight)] = path
            parametrize.register_parametrization(
                module, "weight", CollapsedWeight(weight, self._expansion, self._pointwise)
            )
        if not found:
            raise UserError(f"collapsible: {type(network).__name__} has no Conv2d without groups that is not excluded")
        return network

    def fold(self, network: nn.Module) -> nn.Module:
        """Put the computed weights in the place of their parts, in place."""
        for module in network.modules():
            if _is_collapsible(module):
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        return network


def _is_plain(module: nn.Module) -> bool:
    """Whether it is a convolution without groups whose weight is a parameter."""
    return isinstance(module, nn.Conv2d) and module.groups == 1 and "weight" in module._parameters


def _is_collapsible(module: nn.Module) -> bool:
    if not parametrize.is_parametrized(module, "weight"):
        return False
    parametrizations = module.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    return any(isinstance(part, CollapsedWeight) for part in parametrizations["weight"].children())
