"""The models ``monai`` and ``deepinv``: a library's network by the name of its class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from i2ikd import UserError
from i2ikd_networks.adapted import Adaptation, Adapted, adapted_class
from i2ikd_networks.library import DEEPINV, MONAI, Library, arguments, find_class
from i2ikd_networks.probe import fitting_sizes

Count = Annotated[int, Field(ge=1)]


def monai(
    network: str = "BasicUNet",
    in_channels: Count = 1,
    out_channels: Count | None = None,
    residual: bool = True,
    options: dict[str, Any] | None = None,
) -> nn.Module:
    """A network of MONAI by the name of its class in ``monai.networks.nets``, in two dimensions, untrained.

    Module paths and names of weights are MONAI's own. An image whose size the network cannot take is padded at its
    right and lower edge (by reflection, or replication where it is too small for that), and the output is cropped
    back. A network that gives something else than one image of the size of its input is refused. Many activate in
    place: there, tap an activation or a whole block.

    Args:
        network: such as ``BasicUNet``, ``UNet``, ``AttentionUnet``, ``SegResNet``, ``DynUNet``, ``SwinUNETR``.
        in_channels: channels of the input image.
        out_channels: channels of the output image; as many as the input has when not given.
        residual: the network learns what to add to its input.
        options: the arguments of the class, such as ``{ channels = [32, 64, 128], strides = [2, 2] }``.

    Raises:
        UserError: MONAI is not installed, it has no such network or the network no such option, it is no
            image-to-image network, or a residual network's input and output differ in channels.

    Source: MONAI, arXiv:2211.02701, https://docs.monai.io.
    """
    return _build(MONAI, network, in_channels, out_channels, residual, options or {})


def deepinv(
    network: str = "DnCNN",
    in_channels: Count = 1,
    out_channels: Count | None = None,
    residual: bool = False,
    sigma: Annotated[float, Field(gt=0)] = 0.05,
    options: dict[str, Any] | None = None,
) -> nn.Module:
    """A network of deepinv by the name of its class in ``deepinv.models``, untrained: nothing is downloaded.

    Module paths and names of weights are deepinv's own, so that a teacher can be given a file of deepinv by
    ``weights``. An image whose size the network cannot take is padded as for ``monai``. A network that gives something
    else than one image of the size of its input is refused. Many activate in place: there, tap an activation or a
    whole block.

    Args:
        network: such as ``DnCNN``, ``UNet``, ``DRUNet``, ``SwinIR``, ``SCUNet``, ``Restormer``.
        in_channels: channels of the input image.
        out_channels: channels of the output image; as many as the input has when not given.
        residual: the network learns what to add to its input; DnCNN and UNet do so by themselves.
        sigma: the noise level that networks are given which need one (DRUNet, FFDNet); for images in 0..1.
        options: the arguments of the class, such as ``{ depth = 7, nf = 32 }``.

    Raises:
        UserError: deepinv is not installed, it has no such network or the network no such option, it is no
            image-to-image network, or a residual network's input and output differ in channels.

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
    list_components: Mapping[str, float] | None = None,
) -> Adapted:
    outputs = in_channels if out_channels is None else out_channels
    if residual and outputs != in_channels:
        raise UserError(
            f"{library.model}: residual = true needs as many output channels ({outputs}) as input "
            f"channels ({in_channels}); set residual = false"
        )
    kind = find_class(library, name)
    checked = arguments(library, kind, in_channels, outputs, options)
    given = _given(library, kind, list_components or {})
    try:
        network = adapted_class(kind)(**checked)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{library.model}: {name} cannot be built: {reason}") from error
    network.adaptation = Adaptation(in_channels, given=given)
    try:
        multiple, least = fitting_sizes(network, outputs)
    except UserError as error:
        raise UserError(f"{library.model}: {name} cannot be used: {error}") from error
    network.adaptation = replace(network.adaptation, multiple=multiple, least=least, residual=residual)
    return network


def _given(library: Library, kind: type[nn.Module], list_components: Mapping[str, float]) -> dict[str, float]:
    """Return those of ``list_components`` that the network cannot do without.

    Raises:
        UserError: it needs something else besides the image.
    """
    _, _, *further = inspect.signature(kind.forward).parameters.values()
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    needed = [p.name for p in further if p.default is inspect.Parameter.empty and p.kind not in variable]
    unknown = [name for name in needed if name not in list_components]
    if unknown:
        raise UserError(
            f"{library.model}: {kind.__name__} cannot be used: it needs {', '.join(unknown)} besides the image"
        )
    return {name: list_components[name] for name in needed}
