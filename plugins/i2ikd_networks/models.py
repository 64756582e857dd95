"""Models ``monai`` and ``deepinv``: a network of the library, selected by class name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, PositiveInt
from torch import nn

from i2ikd import UserError
from i2ikd_networks.adapted import Adaptation, Adapted, adapted_class
from i2ikd_networks.library import DEEPINV, MONAI, Library, arguments, find_class
from i2ikd_networks.probe import fitting_sizes


def monai(
    network: str = "BasicUNet",
    in_channels: PositiveInt = 1,
    out_channels: PositiveInt | None = None,
    residual: bool = True,
    options: dict[str, Any] | None = None,
) -> nn.Module:
    """Build an untrained two-dimensional network of MONAI, a class in ``monai.networks.nets``.

    Module paths and names of weights are those of MONAI. An image of a size that the network does not support is padded
    at its right and lower edge (by reflection, or replication where it is too small for reflection), and the output is
    cropped. Networks whose output is not one image of the size of the input raise an error. Many networks have in-place
    activations: tap an activation or a whole block of these.

    Args:
        network: class name, such as ``BasicUNet``, ``UNet``, ``AttentionUnet``, ``SegResNet``, ``DynUNet``,
            ``SwinUNETR``.
        in_channels: channels of the input image, at least 1.
        out_channels: channels of the output image, at least 1; ``None``: those of the input.
        residual: whether the input is added to the output of the network.
        options: arguments of the class, such as ``{ channels = [32, 64, 128], strides = [2, 2] }``.

    Returns:
        The network, from [B, in_channels, H, W] to [B, out_channels, H, W].

    Raises:
        UserError: MONAI is not installed, the network or an option does not exist, the network is not an
            image-to-image network, or ``residual`` is set and the numbers of channels differ.

    Source: MONAI, arXiv:2211.02701, https://docs.monai.io.
    """
    return _build(MONAI, network, in_channels, out_channels, residual, options or {})


def deepinv(
    network: str = "DnCNN",
    in_channels: PositiveInt = 1,
    out_channels: PositiveInt | None = None,
    residual: bool = False,
    sigma: Annotated[float, Field(gt=0)] = 0.05,
    options: dict[str, Any] | None = None,
) -> nn.Module:
    """Build an untrained network of deepinv, a class in ``deepinv.models``; nothing is downloaded.

    Module paths and names of weights are those of deepinv, so that a weights file of deepinv can be set as ``weights``
    of a teacher. An image of a size that the network does not support is padded as for ``monai``. Networks whose output
    is not one image of the size of the input raise an error. Many networks have in-place activations: tap an activation
    or a whole block of these.

    Args:
        network: class name, such as ``DnCNN``, ``UNet``, ``DRUNet``, ``SwinIR``, ``SCUNet``, ``Restormer``.
        in_channels: channels of the input image, at least 1.
        out_channels: channels of the output image, at least 1; ``None``: those of the input.
        residual: whether the input is added to the output of the network; DnCNN and UNet already do so.
        sigma: noise level passed to networks that require one (DRUNet, FFDNet), above 0, for images in 0..1.
        options: arguments of the class, such as ``{ depth = 7, nf = 32 }``.

    Returns:
        The network, from [B, in_channels, H, W] to [B, out_channels, H, W].

    Raises:
        UserError: deepinv is not installed, the network or an option does not exist, the network is not an
            image-to-image network, or ``residual`` is set and the numbers of channels differ.

    Source: deepinv, doi:10.21105/joss.08923, https://deepinv.github.io.
    """
    return _build(DEEPINV, network, in_channels, out_channels, residual, options or {}, {"sigma": sigma})


def _build(
    library: Library,
    name: str,
    in_channels: int,
    out_channels: int | None,
    residual: bool,
    options: Mapping[str, Any],
    available: Mapping[str, float] | None = None,
) -> Adapted:
    outputs = in_channels if out_channels is None else out_channels
    if residual and outputs != in_channels:
        raise UserError(
            f"{library.model}: residual = true expects as many output channels ({outputs}) as input "
            f"channels ({in_channels}); set residual = false"
        )
    kind = find_class(library, name)
    constructor_arguments = arguments(library, kind, in_channels, outputs, options)
    forward_arguments = _forward_arguments(library, kind, available or {})
    try:
        network = adapted_class(kind)(**constructor_arguments)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{library.model}: {name} cannot be built: {reason}") from error
    network.adaptation = Adaptation(in_channels, arguments=forward_arguments)
    try:
        multiple, least = fitting_sizes(network, outputs)
    except UserError as error:
        raise UserError(f"{library.model}: {name} cannot be used: {error}") from error
    network.adaptation = replace(network.adaptation, multiple=multiple, least=least, residual=residual)
    return network


def _forward_arguments(library: Library, kind: type[nn.Module], available: Mapping[str, float]) -> dict[str, float]:
    """Return those of the available arguments of ``forward`` that the network requires.

    Raises:
        UserError: the network requires other arguments besides the image.
    """
    _, _, *further = inspect.signature(kind.forward).parameters.values()
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    needed = [p.name for p in further if p.default is inspect.Parameter.empty and p.kind not in variable]
    unknown = [name for name in needed if name not in available]
    if unknown:
        raise UserError(
            f"{library.model}: {kind.__name__} cannot be used: it requires {', '.join(unknown)} besides the image"
        )
    return {name: available[name] for name in needed}
