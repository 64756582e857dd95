"""Shared ground: one thread, and an experiment so small that all of it is trained in about a second."""

from __future__ import annotations

import copy
import importlib
import re
import signal
import socket
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from i2ikd_mri.phantom import PhantomVolume
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from i2ikd import hookspecs
from i2ikd.callback import Callback, NullCallback, combine
from i2ikd.cli.main import run as run_command
from i2ikd.component import Plugin
from i2ikd.config import Experiment, apply_override, check_experiment
from i2ikd.engine import checkpoint
from i2ikd.engine.run import Run
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.schedule import train_arms
from i2ikd.experiment.tracking import HookCallback
from i2ikd.registry import Registry, default_registry
from tests.commands import CommandResult

# One thread: these tensors are too small to share, and threads that wait for each other are slow on a busy machine.
torch.set_num_threads(1)

# nohup and shells that start the suite in the background ignore signals that the tests send, also to subprocesses.
for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, name), handler)

TINY = """
name = "tiny"
seeds = [0]
teacher = { model = "dc-cnn", cascades = 2, depth = 4, channels = 4 }
student = { model = "dc-cnn", cascades = 2, depth = 3, channels = 4 }
training = { epochs = 2, batch = 2, device = "cpu" }
comparison = { latency = false }
task.name = "mri-recon"

[task.dataset]
name = "phantom"
train = 2
val = 1
test = 2
slices = 2
size = [32, 32]

[[arms]]
name = "student"

[[arms]]
name = "control"
stages = 2

[[arms]]
name = "kd-mri"
recipe = "kd-mri"
"""


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep facts about data files in a temporary folder, also in processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("I2IKD_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every attempt to reach the network fail."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a model tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait, by default at most 200 seconds, until a condition returns something true, and return that."""

    def wait(condition: Callable[[], Any], seconds: float = 200) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "it never became true"
            time.sleep(0.05)
        return found

    return wait


@dataclass(frozen=True)
class Laboratory:
    """A folder in which the tiny experiment (4 training slices, 2 steps an epoch) is changed and run."""

    folder: Path

    def experiment(self, *overrides: str, arms: list[dict[str, Any]] | None = None) -> Experiment:
        document = tomllib.loads(TINY)
        if arms is not None:
            document["arms"] = copy.deepcopy(arms)  # overrides change it
        for override in overrides:
            apply_override(document, override)
        return check_experiment(document, "tiny")

    def graph(
        self,
        *overrides: str,
        arms: list[dict[str, Any]] | None = None,
        out: str = "out",
        plugins: tuple[object, ...] = (),
    ) -> RunGraph:
        """Create everything again, as a new process would."""
        registry = default_registry()
        if plugins:
            registry = Registry(Plugin(p.name, module=p.module) for p in registry.plugins if not p.problem)
            for number, plugin in enumerate(plugins):
                registry.add(Plugin(f"probe-{number}", module=plugin))
        return RunGraph(ExperimentContext(self.experiment(*overrides, arms=arms), registry, self.folder / out))

    def train(self, graph: RunGraph, arm: str, seed: int = 0, callback: Callback | None = None) -> Run:
        """Train one arm and the missing runs that it needs; plugins' life-cycle hooks are called."""
        events = combine(callback or NullCallback(), HookCallback(graph.context.registry))
        (run,) = train_arms(graph, [graph.context.experiment.arm(arm)], seed, events, log=lambda _: None)
        return run

    def weights(self, run: Run) -> dict[str, Tensor]:
        state: dict[str, Tensor] = checkpoint.load(run.folder.weights)["state"]
        return state


_DRAWN: dict[tuple[object, ...], np.ndarray] = {}


def draw_once(patch: pytest.MonkeyPatch) -> None:
    """Draw each simulated subject once for all tests: otherwise that would be most of their work."""
    draw = PhantomVolume._draw

    def look_up(volume: PhantomVolume) -> np.ndarray:
        key = tuple(value for name, value in sorted(vars(volume).items()) if name != "_images")
        if key not in _DRAWN:
            _DRAWN[key] = draw(volume)
        return _DRAWN[key]

    patch.setattr(PhantomVolume, "_draw", look_up)


@pytest.fixture
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each simulated subject is drawn once for all tests."""
    draw_once(monkeypatch)


@pytest.fixture
def i2ikd(capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Return a function that runs a command in this process: ``i2ikd("list", "models")``."""

    def call(*arguments: object) -> CommandResult:
        capsys.readouterr()
        code = run_command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return call


@pytest.fixture
def laboratory(tmp_path: Path, drawn_once: None) -> Laboratory:
    return Laboratory(tmp_path)


@pytest.fixture
def tiny_file(tmp_path: Path, drawn_once: None) -> Path:
    """The tiny experiment as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture
def identical() -> Callable[[dict[str, Tensor], dict[str, Tensor]], bool]:
    """Whether two state dicts agree in every bit."""

    def compare(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
        return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)

    return compare


class Counter:
    """How often something happened."""

    def __init__(self) -> None:
        self.count = 0


@pytest.fixture
def optimiser_steps() -> Iterator[Counter]:
    """Counts the steps of every optimiser."""
    counter = Counter()

    def step(*_: object) -> None:
        counter.count += 1

    handle = register_optimizer_step_post_hook(step)
    yield counter
    handle.remove()


HOOK_PAGES = Path(__file__).parents[1] / "docs" / "hooks"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Registry]]:
    """Write the files of a page's example, each headed by its path, and return a registry with its plugin.

    A page on a hook of ``i2ikd_mri`` has an example that needs ``i2ikd_mri`` too.
    """

    def load(hook: str) -> Registry:
        page = (HOOK_PAGES / f"{hook}.md").read_text("utf-8")
        for path, source in re.findall(r"```python\n# (my_package/\w+\.py)\n(.*?)```", page, re.DOTALL):
            file = tmp_path / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(source, encoding="utf-8")
        module = importlib.import_module("my_package.plugin")
        needed = [] if hasattr(hookspecs, hook) else [Plugin("mri", module=importlib.import_module("i2ikd_mri.plugin"))]
        return Registry([Plugin("my-plugin", "my-package", "0.1", module), *needed])

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("I2IKD_STRICT_PLUGINS", "1")
    yield load
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]
