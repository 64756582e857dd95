"""A missing package is named with the extra that installs it."""

from __future__ import annotations

import sys

import pytest

from i2ikd import UserError
from i2ikd.builtin.exporters.packages import require


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r'exporter .onnx. needs onnxruntime, .*: pip install "i2ikd\[onnx\]"'):
        require("onnxruntime", "onnx", "onnx")
