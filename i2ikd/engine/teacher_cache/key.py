"""What a teacher's answers depend on, as one address: a kept answer is found only where all of it is the same."""

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

_LOOKED_AT = 16
_LOADED = time.time()


class CacheKey:
    """What is known of the answers about a set of samples, whatever the teacher and the term.

    Args:
        dataset: the training samples, in the order in which the teacher is asked about them.
        metadata: what else the samples depend on, JSON-able: the task's identity, the digest of the teacher's run.
        types: classes whose source code the samples depend on.
    """

    def __init__(self, dataset: SampleDataset, metadata: Mapping[str, Any], types: Iterable[type] = ()) -> None:
        self._dataset = dataset
        self._metadata = dict(metadata)
        self._types = {type(dataset), *types}

    @property
    def keys(self) -> Sequence[SampleKey]:
        """The key of every sample, in order."""
        return self._dataset.keys

    @cached_property
    def _samples(self) -> str:
        """Digest of the keys of all samples and of the content of a few, spread evenly.

        A task's identity need not depend on the content of its files.
        """
        found = hashlib.sha256(json.dumps(list(self.keys)).encode())
        for index in np.unique(np.linspace(0, len(self.keys) - 1, _LOOKED_AT).astype(int)):
            _add_sample(found, self._dataset.sample(int(index), None))
        return found.hexdigest()

    def address(
        self, request: TeacherRequest, teacher: nn.Module, batch: int, device: torch.device, precision: str
    ) -> str | None:
        """Return where the teacher's answers to a term are kept; ``None``: it cannot be known what they depend on.

        Args:
            request: the outputs, what they are computed by, and the taps.
            teacher: its weights count, not only its run's digest: the same run made twice may end in other bits.
            batch: samples that the teacher is asked about at once; sums may be taken in another order for another size.
            device: its type and its make count; of a CPU also the number of threads, for the same reason.
            precision: of the teacher's convolutions.
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
                "device": _make(device),
                "precision": precision,
                "code": code,
            }
        )[:32]


def _make(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()}"


def _add_sample(found: Any, sample: Sample) -> None:
    _add(found, "input", sample.input)
    if sample.target is not None:
        _add(found, "target", sample.target)
    for name, tensor in sample.conditions.items():
        _add(found, f"condition {name}", tensor)


def _weights(network: nn.Module) -> str:
    found = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, Tensor):
            _add(found, name, tensor)
    return found.hexdigest()


def _add(found: Any, name: str, tensor: Tensor) -> None:
    found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
    found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def sources(types: Iterable[type]) -> str | None:
    """Return a digest of the source code that classes and their bases come from; torch and Python count by version.

    A package counts as a whole. ``None`` where there is no source, or where it was changed since this process began:
    what runs is then not what the file says.
    """
    homes = {_home(base.__module__) for kind in types for base in kind.__mro__}
    try:
        return _source_digest(homes - sys.stdlib_module_names - {"torch"})
    except OSError:  # somebody works on it
        return None


def _source_digest(homes: set[str]) -> str | None:
    found = hashlib.sha256(f"{sys.version} {torch.__version__}".encode())
    for name in sorted(homes):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None:
            return None
        path = Path(file)
        for source in sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]:
            if source.stat().st_mtime > _LOADED:
                return None
            relative = source.relative_to(path.parent).as_posix()
            found.update(f"{name} {relative} {hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def _home(module: str) -> str:
    """Return the outermost package with a file of its own that a module is in, or the module, if it is in none."""
    home = module
    while "." in home:
        parent = home.rpartition(".")[0]
        if getattr(sys.modules.get(parent), "__file__", None) is None:
            break
        home = parent
    return home
