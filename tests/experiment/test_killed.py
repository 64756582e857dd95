"""A comparison that is killed again and again ends with the results of one that was not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

DRIVER = '''
"""Runs `i2ikd compare` in children of its own, so that torch is imported once; kills them in the middle of writes."""
import os, signal, sys
import torch, timm.optim
from i2ikd.cli.main import run
from i2ikd.engine import loop
from i2ikd.report import write

write.write_report = lambda comparison, out: []  # drawing takes longer than all the rest
torch.set_num_threads(1)
loop._Saver.save_if_due = loop._Saver.save  # a checkpoint after every step
folder, file = sys.argv[1:]
flush = os.fsync

def child(out, kill_at=None):
    """Return (exit status, number of files written)."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        count = 0
        def counted(descriptor):
            nonlocal count
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            flush(descriptor)
        os.fsync = counted
        sys.stdout = open(os.devnull, "w")
        code = run(["compare", file, "--out", os.path.join(folder, out), "--arms", "student,kd-mri"])
        os.write(write, str(count).encode())
        os._exit(code)
    os.close(write)
    status = os.waitpid(pid, 0)[1]
    with os.fdopen(read) as stream:
        return status, int(stream.read() or 0)

status, files = child("whole")
assert status == 0, status
killed = 0
for kill_at in (4, files // 3, files // 4):
    status, _ = child("killed", kill_at)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (status, kill_at, files)
status, rest = child("killed")
assert status == 0, status
assert 0 < rest < files, (rest, files)
print(files, rest)
'''


def test_three_kills_change_nothing(tiny_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(tiny_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert (killed / "records.csv").read_bytes() == (whole / "records.csv").read_bytes()
    assert json.loads((killed / "results.json").read_text()) == json.loads((whole / "results.json").read_text())
    histories = [sorted(p.read_text() for p in out.glob("store/*/history.json")) for out in (whole, killed)]
    assert histories[0] == histories[1]
    assert not list(killed.glob("store/*/checkpoint.pt")), "what is finished keeps no checkpoint"
