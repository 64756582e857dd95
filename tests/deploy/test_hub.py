"""A bundle is uploaded through huggingface_hub; errors are one line, and the bundle stays."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from i2ikd import UserError
from i2ikd.deploy.hub import hub_client, push_bundle


class Api:
    """Local stand-in of ``HfApi`` that records calls, whose arguments the real methods have too."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._error = error

    def __getattr__(self, name: str) -> Any:
        signature = inspect.signature(getattr(huggingface_hub.HfApi, name))

        def call(**arguments: Any) -> str:
            signature.bind(self, **arguments)
            self.calls.append((name, arguments))
            if self._error is not None:
                raise self._error
            return "https://hub/group/student/commit/1"

        return call


def test_a_private_repository_receives_the_folder(tmp_path: Path) -> None:
    api = Api()
    assert push_bundle(tmp_path, "group/student", api) == "https://hub/group/student/commit/1"
    (created, options), (uploaded, content) = api.calls
    assert (created, uploaded) == ("create_repo", "upload_folder")
    assert options == {"repo_id": "group/student", "private": True, "exist_ok": True}
    assert content["folder_path"] == tmp_path and "i2ikd" in content["commit_message"]


def test_a_failed_upload_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"was not uploaded to group/student: 401 Unauthorized; log in with `hf auth"):
        push_bundle(tmp_path, "group/student", Api(OSError("401\nUnauthorized")))


def test_names_and_packages_are_checked_before_the_export(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(hub_client("group/student"), huggingface_hub.HfApi)
    for name in ("student", "a/b/c", "group/", "-/x y"):
        with pytest.raises(UserError, match="--push-to-hub: expected OWNER/NAME"):
            hub_client(name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r'pip install "i2ikd\[hub\]"'):
        hub_client("group/student")
