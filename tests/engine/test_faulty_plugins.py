"""A faulty third-party plugin: one line that names it, exit code 2, and all other components work.

One process runs all commands, with two third-party packages installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest

PLUGIN = """
import i2ikd

@i2ikd.hookimpl
def register_models(register):
    for name in ("raising", "lost", "number", "flat", "enlarging", "narrow"):
        target = "no_such_package:Net" if name == "lost" else f"faulty_parts:{name}"
        register(f"{name}-net", target, summary="a network")

@i2ikd.hookimpl
def register_distillers(register):
    for name in ("nan", "vector", "number", "nothing", "nameless", "failing", "attention"):
        register(name, f"faulty_parts:{name}_loss", summary="a loss")

@i2ikd.hookimpl
def register_tasks(register):
    for name in ("flat", "larger", "uneven", "double", "pairs", "number"):
        register(f"{name}-task", f"faulty_parts:{name}_task", summary="a task")
"""
PARTS = """
from functools import partial
import torch
from torch import nn
from i2ikd import Distiller, Sample, SampleDataset, SampleKey, Task

def raising():
    raise RuntimeError("no licence\\nfor this machine")

def number():
    return 3

class Net(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)
        self.change = change
    def forward(self, input, **conditions):
        return self.change(self.layer(input))

def flat(): return Net(lambda image: image[:, 0])
def enlarging(): return Net(lambda image: image.repeat(1, 1, 2, 1))

class Narrow(nn.Conv2d):
    def __init__(self):
        super().__init__(1, 1, 3, padding=1)
    def forward(self, input, level):
        return super().forward(input)

def narrow(): return Narrow()

class Loss(Distiller):
    uses_taps = False
    def __init__(self, change):
        super().__init__()
        self.change = change
    def knowledge(self, teacher, batch):
        return {}
    def forward(self, student, knowledge, batch):
        return self.change(student.image().square())

def nan_loss(): return Loss(lambda error: error.mean() * float("nan"))
def vector_loss(): return Loss(lambda error: error.mean((1, 2, 3)))
def number_loss(): return Loss(lambda error: 0.5)
def nothing_loss(): return Loss(lambda error: None)
def nameless_loss(): return Loss(lambda error: {"part": error.mean()})
def failing_loss(): return Loss(lambda error: error.reshape(7))
def attention_loss(): return Loss(lambda error: error.mean())

class Data(SampleDataset):
    def __init__(self, split, change):
        self.keys_, self.change = [SampleKey(volume=split, index=index) for index in range(3)], change
    @property
    def keys(self):
        return self.keys_
    def sample(self, index, seed):
        image = torch.rand(1, 8, 10)
        return self.change(Sample(image, image.clone(), {}, self.keys_[index]))

class Odd(Task):
    def __init__(self, change):
        self.change = change
    def dataset(self, split, augmentations=()):
        return Data(split, self.change)
    def identity(self):
        return {}

def with_both(change, sample):
    return Sample(change(sample.input), change(sample.target), {}, sample.key)
def with_larger_target(sample):
    return Sample(sample.input, sample.target.repeat(1, 2, 1), {}, sample.key)
def with_uneven_condition(sample):
    return Sample(sample.input, sample.target, {"mask": torch.ones(1, 8, sample.key.index + 1)}, sample.key)

def flat_task(): return Odd(partial(with_both, lambda image: image[0]))
def double_task(): return Odd(partial(with_both, torch.Tensor.double))
def larger_task(): return Odd(with_larger_target)
def uneven_task(): return Odd(with_uneven_condition)
def pairs_task(): return Odd(lambda sample: (sample.input, sample.target))
def number_task(): return 3
"""
MISSPELT = """
import i2ikd

@i2ikd.hookimpl
def register_distilers(register):
    register("never", "faulty_parts:nan_loss")
"""
EXPERIMENT = """
name = "tiny"
teacher = { model = "plain-cnn", depth = 3, channels = 2 }
student = { model = "plain-cnn", depth = 2, channels = 2 }
training = { epochs = 1, batch = 2 }
comparison = { latency = false }
pairs = [["layers.1.activation", "layers.0.activation"]]
arms = [{ name = "arm" }]
task = { name = "mri-recon", dataset = { name = "phantom", train = 1, val = 1, test = 1, slices = 2, size = [16, 20] } }
"""
RUNNER = """
import contextlib, io, json, sys
from i2ikd.cli.main import run
results = {}
for name, command in json.load(sys.stdin).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run(command)
        except Exception as error:
            code = repr(error)
    results[name] = [code, out.getvalue(), err.getvalue()]
print("results", json.dumps(results))
"""


def student(model: str) -> str:
    return f"student={{ model = '{model}' }}"


def arm(distiller: str) -> str:
    return f"arms=[{{ name = 'arm', recipe = 'joint', distiller = '{distiller}' }}]"


def task(name: str) -> str:
    return f"task={{ name = '{name}' }}"


OWNER = "of the plugin faulty (faulty-plugin 0.3)"
FAILING = PARTS[: PARTS.index("def failing_loss")].count("\n") + 1
SCALAR = "expected the distiller Loss to return a scalar tensor, or a dict of them with the key 'loss', got"
IMAGE = "train[0]: expected an input [C, H, W] of torch.float32 from the task, got"
BREAKS = {
    student("raising-net"): f"'raising-net' {OWNER} failed to start: RuntimeError: no licence for this machine",
    student("lost-net"): f"'lost-net' {OWNER}: cannot import 'no_such_package:Net': ModuleNotFoundError",
    student("number-net"): "student (arm 'arm'): expected the model 'number-net' to return a torch.nn.Module, got int",
    student("flat-net"): "Net must return an image [B, C, H, W], not (2, 16, 20)",
    student("enlarging-net"): "Net returns (2, 1, 32, 20) for a target of (2, 1, 16, 20)",
    student("narrow-net"): "student (arm 'arm'): Narrow cannot take a batch of the task (input [2, 1, 16, 20], kspace ",
    arm("nan"): "students/arm/seed0: the term 'nan' became nan in epoch 0, step 0; lower training.lr",
    arm("vector"): f"the term 'vector': {SCALAR} a tensor [2]",
    arm("number"): f"the term 'number': {SCALAR} a float",
    arm("nothing"): f"the term 'nothing': {SCALAR} a NoneType",
    arm("nameless"): f"the term 'nameless': {SCALAR} a dict of part",
    arm("failing"): f"faulty_parts.py, line {FAILING}: RuntimeError: shape '[7]' is invalid for input of size 640; ",
    arm("attention"): "registered by builtin (i2ikd 0.1.0) and faulty (faulty-plugin 0.3); write 'i2ikd:attention' or",
    arm("never"): "unknown distiller 'never'",
    task("flat-task"): f"{IMAGE} (8, 10), torch.float32",
    task("double-task"): f"{IMAGE} (1, 8, 10), torch.float64",
    task("larger-task"): "PlainCNN returns (2, 1, 8, 10) for a target of (2, 1, 16, 10)",
    task("uneven-task"): "conditions of unequal shape in one batch: train[",
    task("pairs-task"): "the task's dataset: expected an i2ikd.Sample, got a tuple",
    task("number-task"): "task 'number-task': expected an i2ikd.Task, got int",
}  # fmt: skip


class Result(NamedTuple):
    code: int | str
    out: str
    err: str


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Results of all commands, in order; the last two run after all that fail."""
    site = tmp_path_factory.mktemp("site")
    for module, source in {"faulty_plugin": PLUGIN, "faulty_parts": PARTS, "misspelt_plugin": MISSPELT}.items():
        (site / f"{module}.py").write_text(source, encoding="utf-8")
    for name, module in {"faulty": "faulty_plugin", "misspelt": "misspelt_plugin"}.items():
        information = site / f"{module}-0.3.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 0.3\n"
        )
        (information / "entry_points.txt").write_text(f"[i2ikd]\n{name} = {module}\n")
    (site / "tiny.toml").write_text(EXPERIMENT, encoding="utf-8")
    commands = {
        change: ["compare", "tiny.toml", "--out", f"broken-{number}", "-o", change]
        for number, change in enumerate(BREAKS)
    }
    commands["plugins"] = ["plugins", "--json"]
    commands["works"] = ["distill", "tiny.toml", "--out", "works", "-o", arm("i2ikd:attention"), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(commands),
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        cwd=site,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: Result(*result) for name, result in json.loads(done.stdout.removeprefix("results ")).items()}


def errors(result: Result) -> list[str]:
    """The lines on stderr, without the one about the other package, which is disabled at the start of the process."""
    return [line for line in result.err.splitlines() if "misspelt" not in line or line.startswith("i2ikd: error:")]


@pytest.mark.parametrize("change", BREAKS)
def test_a_fault_is_named_in_one_line(change: str, results: dict[str, Result]) -> None:
    result = results[change]
    assert result.code == 2, result
    (line,) = errors(result)
    assert line.startswith("i2ikd: error: ") and BREAKS[change] in line


def test_a_misspelt_hook_costs_one_line_and_is_named_by_later_errors(results: dict[str, Result]) -> None:
    problem = "there is no hook 'register_distilers'; did you mean 'register_distillers'?"
    line = f"i2ikd: the plugin misspelt (misspelt-plugin 0.3) is broken and not used: {problem}"
    assert sum(result.err.count(line) for result in results.values()) == 1
    assert f"  the plugin misspelt (misspelt-plugin 0.3) is not in use: {problem}" in results[arm("never")].err
    problems = {plugin["name"]: plugin["problem"] for plugin in json.loads(results["plugins"].out)}
    assert problems["misspelt"] == problem and problems["faulty"] is None


def test_other_components_work(results: dict[str, Result]) -> None:
    result = results["works"]
    assert result.code == 0, result
    assert [run["name"] for run in json.loads(result.out)] == ["students/arm/seed0"]
