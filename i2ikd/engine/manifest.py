"""Manifest of a run: versions, commit, provenance of components, device, threads, data."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
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
        "commit": source_commit(),
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


@cache
def source_commit() -> str | None:
    """Return the commit of i2ikd's source, with ``-dirty`` if files differ from it.

    Returns:
        The commit of a checkout, or of the repository that the package was installed from; ``None``: neither is known.
    """
    folder = Path(__file__).parents[2]
    if (folder / ".git").exists():
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
            return done.stdout.strip()
    with contextlib.suppress(metadata.PackageNotFoundError, ValueError):
        stated = json.loads(metadata.distribution("i2ikd").read_text("direct_url.json") or "{}")
        commit: str | None = stated.get("vcs_info", {}).get("commit_id")
        return commit
    return None


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
