"""Signals after a model was compiled by OpenVINO and freed."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, pathlib, signal, sys
import torch
from i2ikd.builtin.exporters.openvino_file import OpenVino
from i2ikd.export_form import form_of
from i2ikd.exporter import ExportRequest
from i2ikd.sample import Batch, SampleKey

network = torch.nn.Conv2d(1, 1, 3, padding=1).eval()
batch = Batch(torch.rand(2, 1, 8, 6), torch.rand(2, 1, 8, 6), {}, [SampleKey(volume="a", index=0), SampleKey(volume="a", index=1)])
request = ExportRequest(network, lambda: form_of(network, batch), batch)
path = pathlib.Path(sys.argv[1])
OpenVino().write(request, path)
loaded = OpenVino().load(request, path)
loaded(batch)
del loaded
gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""


def test_a_signal_is_handled_after_openvino_is_freed(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, f"{tmp_path}/a.xml"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["handled"]), done.stderr
