"""Network classes in the public namespace of a library, and their constructor arguments."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import nn

from i2ikd import UserError
from i2ikd.errors import nearest

INPUTS = ("in_channels", "in_chans", "in_nc", "img_channels")
"""Argument names of the number of input channels in the libraries."""
OUTPUTS = "out_channels"


@dataclass(frozen=True)
class Library:
    """A library of networks.

    Attributes:
        model: name of the registered model; also that of the extra of the package that installs the library.
        title: name in messages.
        namespace: public module of the selectable classes.
        untrained: value of the argument ``pretrained`` that downloads nothing.
        fixed: further constructor arguments that are not configurable.
    """

    model: str
    title: str
    namespace: str
    untrained: bool | None
    fixed: Mapping[str, Any] = field(default_factory=dict)


MONAI = Library("monai", "MONAI", "monai.networks.nets", False, {"spatial_dims": 2})
DEEPINV = Library("deepinv", "deepinv", "deepinv.models", None)


def find_class(library: Library, network: str) -> type[nn.Module]:
    """Return a network class of a library.

    Args:
        library: the library.
        network: name of the class.

    Raises:
        UserError: the library is not installed, the class does not exist, or its constructor has no argument for the
            number of input channels.
    """
    public = {
        name: value
        for name, value in vars(_namespace(library)).items()
        if not name.startswith("_") and inspect.isclass(value) and issubclass(value, nn.Module)
    }
    usable = [name for name, kind in public.items() if _input_argument(kind)]
    if network not in public:
        raise UserError(f"{library.model}: {library.title} has no network {network!r}; {nearest(network, usable)}")
    if network not in usable:
        raise UserError(
            f"{library.model}: expected an image-to-image network, but {network} has no argument for the number of "
            f"channels; choose from {', '.join(sorted(usable))}"
        )
    return public[network]


def _namespace(library: Library) -> ModuleType:
    package = library.namespace.partition(".")[0]
    try:
        with warnings.catch_warnings():  # on the library's dependencies; MONAI also replaces showwarning
            warnings.simplefilter("ignore")
            return importlib.import_module(library.namespace)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise UserError(
                f"the model {library.model!r}: {library.title} cannot be imported: {error}; "
                f'install its dependencies: pip install "i2ikd[{library.model}]"'
            ) from error
        raise UserError(
            f'the model {library.model!r} needs {library.title}, which is not installed: pip install "i2ikd[{package}]"'
        ) from None
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"the model {library.model!r}: {library.title} cannot be imported: {reason}") from error


def _input_argument(kind: type[nn.Module]) -> str | None:
    """Return the constructor argument for the number of input channels."""
    parameters = inspect.signature(kind).parameters
    return next((name for name in INPUTS if name in parameters), None)


def arguments(
    library: Library, kind: type[nn.Module], in_channels: int, out_channels: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the constructor arguments of a class: options, channels, two spatial dimensions, no pretrained weights.

    Args:
        library: the library of the class.
        kind: class of the network.
        in_channels: channels of the input image.
        out_channels: channels of the output image.
        options: arguments set by the user.

    Raises:
        UserError: an option does not exist, is not configurable, or is required and missing.
    """
    parameters = inspect.signature(kind).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    fixed: dict[str, Any] = {str(_input_argument(kind)): in_channels, OUTPUTS: out_channels, **library.fixed}
    fixed = {name: value for name, value in fixed.items() if name in parameters or takes_any}
    free = [
        name
        for name, parameter in parameters.items()
        if parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        and name not in fixed
        and not _is_reserved(name)
    ]
    where = f"{library.model}: options of {kind.__name__}"
    for name in options:
        if name.startswith("pretrained"):
            raise UserError(
                f"{where}: {name!r} cannot be set, because nothing is downloaded; "
                'set trained weights of a teacher with weights = "file.pt"'
            )
        if name in fixed or _is_reserved(name):
            raise UserError(f"{where}: {name!r} cannot be set; set in_channels and out_channels beside options")
        if name not in free and not takes_any:
            raise UserError(f"{where}: unknown argument {name!r}; {nearest(name, free)}")
    required = [name for name in free if parameters[name].default is inspect.Parameter.empty]
    missing = [name for name in required if name not in options]
    if missing:
        raise UserError(f"{where}: {', '.join(missing)} must be set, as in options = {{ {missing[0]} = ... }}")
    if "pretrained" in parameters:
        fixed["pretrained"] = library.untrained
    return {**fixed, **options}


def _is_reserved(name: str) -> bool:
    """Whether an argument is not configurable: the device of the network, or its pretrained weights."""
    return name == "device" or name.startswith("pretrained")
