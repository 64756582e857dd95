"""Build hook: the project's addresses, from the repository that builds it.

``I2IKD_REPOSITORY`` is the address of the repository (https://HOST/OWNER/NAME); workflows set it. Without it the
metadata has the paper's address alone: a package that is built from a fork names the fork, never another repository.
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAPER = "https://arxiv.org/abs/2004.05319"


def addresses(repository: str) -> dict[str, str]:
    """Return the addresses of a repository by label.

    Args:
        repository: address of the repository; empty if unknown.
    """
    if not repository:
        return {"Paper": PAPER}
    repository = repository.rstrip("/").removesuffix(".git")
    return {
        "Source": repository,
        "Issues": f"{repository}/issues",
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Documentation": f"{repository}/tree/main/docs",
        "Paper": PAPER,
    }


class Addresses(MetadataHookInterface):
    """Sets ``project.urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the addresses in place.

        Args:
            metadata: the ``project`` table.
        """
        metadata["urls"] = addresses(os.environ.get("I2IKD_REPOSITORY", ""))
