"""Conversion of the values of files to inputs of a network in NumPy alone, for the program of a bundle."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import ModuleType
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Preparation:
    """What a task does with the values of a file, as a module that bundles receive a copy of.

    The module imports the standard library and NumPy alone. It defines three functions, which raise ``ValueError`` with
    one line for values that they cannot convert::

        scale_of(volume, options) -> float                     # divisor of the values of a volume [slices, H, W]
        network_inputs(values, options, arrays) -> dict        # of one scaled slice [H, W]: inputs [C, H, W] by name
        image_of(output, options) -> np.ndarray                # image [H, W] of an output [C, H, W] of the network

    ``options`` also contains the switches of the program: ``kspace`` (the file holds k-space) and ``simulate`` (as
    ``i2ikd infer --simulate``). ``arrays["mask"]`` is the file of ``--mask``.

    Attributes:
        module: name of the module.
        options: JSON values.
        arrays: by name, without data of a subject.
        script: ``package:file.js``, a module of JavaScript for the page of a bundle, with ``scaleOf(values, options)``
            and ``networkInputs(slice, options, arrays)``; empty: the page reads no volumes.
    """

    module: str
    options: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    script: str = ""

    def load(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(self.module)

    def source(self) -> str:
        """Return the source text of the module."""
        return inspect.getsource(self.load())

    def script_source(self) -> str:
        """Return the text of the script."""
        package, _, file = self.script.partition(":")
        return resources.files(package).joinpath(file).read_text("utf-8")
