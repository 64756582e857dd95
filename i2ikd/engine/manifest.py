"""Manifest of a run: versions, provenance of components, device, threads, data."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any

import torch

from i2ikd.engine.context import TrainingContext
from i2ikd.errors import UserError
from i2ikd.registry import Registry

_PACKAGES = ("i2ikd", "torch", "timm", "numpy", "scipy", "scikit-image", "h5py")


def manifest(shared: TrainingContext, components: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the manifest of a run that starts now, as JSON values by key.

    Args:
        shared: state of the run's training loop.
        components: (kind, name) of the components that the run uses.
    """
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "components": {
            f"{kind}:{name}": provenance(shared.registry, kind, name) for kind, name in sorted(set(components))
        },
        "device": _device(shared.device),
        "precision": shared.precision,
        "threads": torch.get_num_threads(),
        "processes": shared.group.size,
        "effective_batch": shared.batches.size,
        "steps_per_epoch": shared.batches.steps,
        "data": shared.task.describe(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _versions() -> dict[str, str]:
    """Return the versions of installed packages that results depend on."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def provenance(registry: Registry, kind: str, name: str) -> str:
    """Return the plugin, distribution and version that register a component; ``imported`` if it is not registered.

    Args:
        registry: contains the component.
        kind: of the component, such as ``model``.
        name: of the component.
    """
    try:
        return registry.get(kind, name).plugin.label
    except UserError:
        return "imported"


def _device(device: torch.device) -> str:
    """Return the type and the product name of a device."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"cpu: {platform.processor() or platform.machine()}"
