"""Addresses of teacher outputs: digests of everything that the outputs depend on."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2ikd.config import digest
from i2ikd.engine.teacher_cache.entry import FORMAT
from i2ikd.objective import TeacherRequest
from i2ikd.sample import Sample, SampleKey
from i2ikd.task import SampleDataset

_HASHED_SAMPLES = 16
"""Number of samples whose content is part of the digest."""
_LOADED = time.time()
"""Time of import; source files changed later may differ from the code that runs."""


class CacheKey:
    """Computes the addresses of teacher outputs for one set of samples.

    Args:
        dataset: the training samples, in the order in which the teacher is evaluated on them.
        metadata: further JSON-able dependencies: the task's identity, the digest of the teacher's run.
        types: classes whose source code the samples depend on.
    """

    def __init__(self, dataset: SampleDataset, metadata: Mapping[str, Any], types: Iterable[type] = ()) -> None:
        self._dataset = dataset
        self._metadata = dict(metadata)
        self._types = {type(dataset), *types}

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Keys of all samples, in order."""
        return self._dataset.keys

    @cached_property
    def _samples(self) -> str:
        """Digest of the keys of all samples and the content of a few evenly spaced ones.

        The content is included because a task's identity need not depend on the content of its files.
        """
        digester = hashlib.sha256(json.dumps(list(self.keys)).encode())
        for index in np.unique(np.linspace(0, len(self.keys) - 1, _HASHED_SAMPLES).astype(int)):
            _add_sample(digester, self._dataset.sample(int(index), None))
        return digester.hexdigest()

    def address(
        self, request: TeacherRequest, teacher: nn.Module, batch: int, device: torch.device, precision: str
    ) -> str | None:
        """Return the address of the outputs of a request.

        Args:
            request: the outputs, the class that computes them, and the taps.
            teacher: its weights are included beside its run's digest, as repeated runs may differ in rounding.
            batch: samples per forward pass; the order of sums may depend on it.
            device: its type and product name are included; of a CPU also the number of threads, for the same reason.
            precision: of the teacher's convolutions.

        Returns:
            32 hexadecimal digits; ``None`` if the source code that the outputs depend on cannot be determined.
        """
        modules = {type(module) for module in teacher.modules()}
        code = sources({request.code, *modules, *self._types})
        if code is None:
            return None
        return digest(
            {
                "format": FORMAT,
                "metadata": self._metadata,
                "samples": self._samples,
                "term": request.key,
                "teacher": _weights(teacher),
                "batch": batch,
                "device": _device(device),
                "precision": precision,
                "code": code,
            }
        )[:32]


def _device(device: torch.device) -> str:
    """Return the properties of a device on which rounding depends."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()}"


def _add_sample(digester: Any, sample: Sample) -> None:
    """Add a sample's tensors to a digest."""
    _add(digester, "input", sample.input)
    if sample.target is not None:
        _add(digester, "target", sample.target)
    for name, tensor in sample.conditions.items():
        _add(digester, f"condition {name}", tensor)


def _weights(network: nn.Module) -> str:
    """Return the digest of a network's parameters and buffers."""
    digester = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, Tensor):
            _add(digester, name, tensor)
    return digester.hexdigest()


def _add(digester: Any, name: str, tensor: Tensor) -> None:
    """Add a tensor's name, type, shape and values to a digest."""
    digester.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
    digester.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def sources(types: Iterable[type]) -> str | None:
    """Return a digest of the source code of classes and their bases.

    Each class contributes its whole outermost package; torch and Python contribute their versions.

    Args:
        types: the classes.

    Returns:
        The digest; ``None`` if a source file is missing, or was changed after this process started, as it may then
        differ from the code that runs.
    """
    packages = {_outermost_package(base.__module__) for kind in types for base in kind.__mro__}
    try:
        return _source_digest(packages - sys.stdlib_module_names - {"torch"})
    except OSError:  # a file was removed meanwhile
        return None


def _source_digest(packages: set[str]) -> str | None:
    """Return the digest of the source files of packages and modules; see ``sources``."""
    digester = hashlib.sha256(f"{sys.version} {torch.__version__}".encode())
    for name in sorted(packages):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None:
            return None
        path = Path(file)
        for source in sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]:
            if source.stat().st_mtime > _LOADED:
                return None
            relative = source.relative_to(path.parent).as_posix()
            digester.update(
                f"{name} {relative} {hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode(
                    "utf-8", "surrogateescape"
                )
            )
    return digester.hexdigest()


def _outermost_package(module: str) -> str:
    """Return the outermost package that has a file and contains a module; the module itself if there is none."""
    package = module
    while "." in package:
        parent = package.rpartition(".")[0]
        if getattr(sys.modules.get(parent), "__file__", None) is None:
            break
        package = parent
    return package
