"""Import of the optional packages of exporters."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

from i2ikd.errors import UserError


def require(package: str, exporter: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        package: name of the package.
        exporter: name of the exporter, for the message.
        extra: the extra of i2ikd that installs the package.

    Raises:
        UserError: the package is not installed, or cannot be imported.
    """
    try:
        with warnings.catch_warnings():  # of the package's own dependencies
            warnings.simplefilter("ignore")
            return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"the exporter {exporter!r} needs {package}, which cannot be imported ({error}): "
            f'pip install "i2ikd[{extra}]"'
        ) from None
