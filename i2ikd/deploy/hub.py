"""Upload of a bundle to Hugging Face."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from i2ikd import __version__
from i2ikd.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def hub_client(name: str) -> Any:
    """Return a client of the hub, before anything is exported.

    Args:
        name: of the repository, ``OWNER/NAME``.

    Raises:
        UserError: huggingface_hub is missing, or the name is none of a repository.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"--push-to-hub: expected OWNER/NAME, such as my-group/brain-4x-student, got {name!r}")
    try:
        import huggingface_hub
    except ImportError:
        raise UserError('the upload needs huggingface_hub, which is not installed: pip install "i2ikd[hub]"') from None
    return huggingface_hub.HfApi()


def push_bundle(folder: Path, name: str, client: Any) -> str:
    """Upload a bundle; a repository that does not exist is created as a private one.

    Args:
        folder: the bundle.
        name: of the repository, ``OWNER/NAME``.
        client: an ``HfApi``, which takes the token of ``hf auth login`` or ``HF_TOKEN``.

    Returns:
        Address of the commit.

    Raises:
        UserError: the upload failed; the bundle stays where it is.
    """
    try:
        client.create_repo(repo_id=name, private=True, exist_ok=True)
        commit = client.upload_folder(
            repo_id=name, folder_path=folder, commit_message=f"Add bundle exported by i2ikd {__version__}"
        )
    except Exception as error:  # exceptions of the client and of its HTTP library
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"the bundle is in {folder} and was not uploaded to {name}: {reason}; log in with `hf auth login`, and "
            f"upload it with `hf upload {name} {folder}`"
        ) from error
    return str(commit)
