"""The alternate signal stack of the process after OpenVINO was used: a freed one turns each signal into a crash."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import pytest
import torch

from i2ikd.builtin.exporters.openvino_file import OpenVino
from i2ikd.export_form import form_of
from i2ikd.exporter import ExportRequest
from i2ikd.sample import Batch, SampleKey


def stack() -> bytes:
    """Address, flags and size of the alternate signal stack, as the kernel returns them."""
    found = ctypes.create_string_buffer(24)
    assert ctypes.CDLL(None).sigaltstack(None, found) == 0
    return found.raw


@pytest.mark.skipif(sys.platform != "linux", reason="the stack is put back on Linux")
def test_the_stack_of_signal_handlers_is_the_former_one(tmp_path: Path) -> None:
    network = torch.nn.Conv2d(1, 1, 3, padding=1).eval()
    keys = [SampleKey(volume="a", index=index) for index in (0, 1)]
    batch = Batch(torch.rand(2, 1, 8, 6), torch.rand(2, 1, 8, 6), {}, keys)
    request = ExportRequest(network, lambda: form_of(network, batch), batch)
    before = stack()
    OpenVino().write(request, tmp_path / "a.xml")
    first, second = (OpenVino().load(request, tmp_path / "a.xml") for _ in range(2))
    first(batch), second(batch)
    del first  # in the order of creation, so that the second would put back the freed stack of the first
    gc.collect()
    del second
    gc.collect()
    assert stack() == before
