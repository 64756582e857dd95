"""Classes of networks in the public namespace of a library, and the arguments that they are built with."""

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
"""What the libraries call the number of input channels."""
OUTPUTS = "out_channels"


@dataclass(frozen=True)
class Library:
    """A library of networks.

    Attributes:
        model: the name that its networks are registered under; also that of the extra which installs it.
        title: its name in messages.
        namespace: the public module whose classes can be named.
        untrained: what its argument ``pretrained`` is given, so that nothing is downloaded.
        fixed: further arguments that are not a person's to choose.
    """

    model: str
    title: str
    namespace: str
    untrained: bool | None
    fixed: Mapping[str, Any] = field(default_factory=dict)


MONAI = Library("monai", "MONAI", "monai.networks.nets", False, {"spatial_dims": 2})
DEEPINV = Library("deepinv", "deepinv", "deepinv.models", None)


def find_class(library: Library, network: str) -> type[nn.Module]:
    """Return the class ``network`` of a library.

    Raises:
        UserError: the library is not installed, it has no such class, or the class is told no number of channels.
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
            f"{library.model}: {network} is built without a number of channels, so that it is no image-to-image "
            f"network; i2ikd can use {', '.join(sorted(usable))}"
        )
    return public[network]


def _namespace(library: Library) -> ModuleType:
    package = library.namespace.partition(".")[0]
    try:
        with warnings.catch_warnings():  # theirs, about their own dependencies; MONAI also exchanges showwarning
            warnings.simplefilter("ignore")
            return importlib.import_module(library.namespace)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise UserError(
                f"the model {library.model!r}: {library.title} cannot be imported: {error}; "
                f'pip install "i2ikd[{library.model}]" brings what it needs'
            ) from error
        raise UserError(
            f'the model {library.model!r} needs {library.title}, which is not installed: pip install "i2ikd[{package}]"'
        ) from None
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"the model {library.model!r}: {library.title} cannot be imported: {reason}") from error


def _input_argument(kind: type[nn.Module]) -> str | None:
    known = inspect.signature(kind).parameters
    return next((name for name in INPUTS if name in known), None)


def arguments(
    library: Library, kind: type[nn.Module], in_channels: int, out_channels: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the constructor of ``kind`` is called with: ``options``, channels, two dimensions, no training.

    Raises:
        UserError: an option that the class does not have, that is not to be set there, or that is missing.
    """
    known = inspect.signature(kind).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    given: dict[str, Any] = {str(_input_argument(kind)): in_channels, OUTPUTS: out_channels, **library.fixed}
    given = {name: value for name, value in given.items() if name in known or takes_any}
    free = [
        name
        for name, parameter in known.items()
        if parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        and name not in given
        and not _is_ours(name)
    ]
    where = f"{library.model}: options of {kind.__name__}"
    for name in options:
        if name.startswith("pretrained"):
            raise UserError(
                f"{where}: {name!r} cannot be set, because nothing is downloaded; "
                'a teacher gets trained weights by weights = "file.pt"'
            )
        if name in given or _is_ours(name):
            raise UserError(f"{where}: {name!r} is not set there; in_channels and out_channels stand beside options")
        if name not in free and not takes_any:
            raise UserError(f"{where}: there is no {name!r}; {nearest(name, free)}")
    required = [name for name in free if known[name].default is inspect.Parameter.empty]
    missing = [name for name in required if name not in options]
    if missing:
        raise UserError(f"{where}: {', '.join(missing)} must be given, as in options = {{ {missing[0]} = ... }}")
    if "pretrained" in known:
        given["pretrained"] = library.untrained
    return {**given, **options}


def _is_ours(name: str) -> bool:
    """Whether an argument is never a person's to choose: where the network is, and which weights it starts from."""
    return name == "device" or name.startswith("pretrained")
