"""Work of one training step that does not depend on how fast a machine is: teacher layers, reads, copies, kept tensors.

Two cascades of three convolutions (student) or four (teacher) with eight channels, and two slices of 16 x 16 a step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from i2ikd_mri.kernels import checkpointed
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from i2ikd.callback import NullCallback, RunContext
from i2ikd.engine.loop import train
from i2ikd.engine.run import load_network
from i2ikd.engine.trainer import Trainer
from i2ikd.experiment.schedule import train_teacher
from i2ikd.experiment.training import RunTrainer

CASCADES, TEACHER_DEPTH, DEPTH, CHANNELS, BATCH, SIDE = 2, 4, 3, 8, 2, 16
STAGES: dict[str, dict[str, Any]] = {
    "output": {"recipe": "imitation", "alpha": 0.5},
    "attention": {"recipe": "custom", "stages": [{"name": "features", "terms": [{"distiller": "attention"}]}]},
}
SETTINGS = (
    f"teacher.channels={CHANNELS}",
    f"student.channels={CHANNELS}",
    f"task.dataset.size=[{SIDE}, {SIDE}]",
    "training.epochs=3",
    "teacher.training.epochs=1",
    "training.select=last",
    "training.cache_disk_mib=0",
    "training.optimizer=sgd",  # Adam reads its own count of steps, which is on the CPU, for each parameter
)
VERSION = tuple(map(int, torch.__version__.split(".")[:2]))


class Steps(NullCallback):
    """Records counts after every step; the last step of the last epoch prepares nothing."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._seen: list[Counter[str]] = []

    def on_step_end(self) -> None:
        self._seen.append(self._counts.copy())

    @property
    def last(self) -> Counter[str]:
        return self._seen[-1] - self._seen[-2]


@pytest.fixture
def one_step(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Counter[str]]:
    """Return a function that trains a stage and returns what a probe counts in its last step."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")  # the memory format depends on it

    def count(
        stage: str, probe: Any, *overrides: str, watch: Callable[[nn.Module], None] | None = None
    ) -> Counter[str]:
        graph = laboratory.graph(*SETTINGS, *overrides, arms=[{"name": "arm", **STAGES[stage]}])
        made = train_teacher(graph, 0, log=lambda _: None)
        registry = graph.context.registry
        teacher = load_network(registry, made.folder)
        if watch is not None:
            watch(teacher)
        steps = Steps(probe.counts)
        shared = RunTrainer(graph).context(0, {"teacher": (made,)}, {"teacher": teacher}, steps)
        shared.validation = None
        run = graph.arm_run(graph.context.experiment.arm("arm"), 0)
        network = registry.create("model", run.specification.model, run.specification.options)
        if isinstance(probe, Kept):
            probe.exclude(network)
        with probe:
            model = run.specification.model
            train("arm", [Trainer(RunContext("arm", 0, None, {}, network), network, run.stages, shared, model)], shared)
        return steps.last

    return count


class Layers:
    """Counts the forward passes of a network and of its convolutions."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> None:
        self.counts.clear()

    def __exit__(self, *_: object) -> None:
        """Keep the counts."""

    def watch(self, network: nn.Module) -> None:
        network.register_forward_pre_hook(lambda *_: self.counts.update(["network"]))
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda *_: self.counts.update(["convolution"]))


@pytest.mark.parametrize("stage", STAGES)
def test_of_a_teacher_with_cached_outputs_no_layer_runs_in_a_step(one_step: Any, stage: str) -> None:
    layers = Layers()
    assert one_step(stage, layers, watch=layers.watch) == {}


@pytest.mark.parametrize(
    ("stage", "convolutions"),
    [("output", CASCADES * TEACHER_DEPTH), ("attention", CASCADES * TEACHER_DEPTH - 1)],
)
def test_of_a_live_teacher_layers_run_once_in_a_step(one_step: Any, stage: str, convolutions: int) -> None:
    """The taps of the attention stage are the third of four convolutions in each cascade: no layer after the last."""
    layers = Layers()
    found = one_step(stage, layers, "training.cache_mib=0", watch=layers.watch)
    assert found == {"network": 1, "convolution": convolutions}


class Operations(TorchDispatchMode):
    """Counts calls of torch's operations by name."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._names = names
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (name := func.overloadpacket.__name__) in self._names:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("stage", "terms"), [("output", 2), ("attention", 1)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_reads_one_value_of_each_term(one_step: Any, stage: str, terms: int, precision: str) -> None:
    """It refuses a term that is not finite; neither a network, whatever its precision, nor a loader reads a value."""
    reads = Operations("_local_scalar_dense", "is_nonzero")
    found = one_step(stage, reads, "training.cache_mib=0", f"training.precision={precision}")
    assert found == {"_local_scalar_dense": terms}


LOADING = {"stack": 4, "_to_copy": 2}
"""Of a batch: input, target, k-space and mask are stacked; input and target are put into the memory format."""


@pytest.mark.skipif(VERSION < (2, 14), reason="older versions of torch copy more in their own operations")
@pytest.mark.parametrize(
    ("stage", "live", "copies"),
    [
        # Clones: the kernel of the first convolution of a cascade, into the layout of the features, again where these
        # are recomputed; for the gradient of each last convolution the image's gradient and the kernel, twice; the
        # image for all four weight gradients. Gradients of last kernels are copied into the layout of the kernels.
        # A live teacher adds its first kernels. In the attention stage the last convolution has no gradient.
        ("output", False, {"copy_": 2, "clone": 2 + 2 + 2 * 3 + 4, "stack": 0}),
        ("output", True, {"copy_": 2, "clone": 2 + 2 + 2 * 3 + 4 + 2, "stack": 0}),
        ("attention", False, {"copy_": 1, "clone": 2 + 2 + 1 * 3 + 3, "stack": 1}),
        ("attention", True, {"copy_": 1, "clone": 2 + 2 + 1 * 3 + 3 + 2, "stack": 1}),
    ],
)
def test_copies_of_a_step_in_float32(one_step: Any, stage: str, live: bool, copies: dict[str, int]) -> None:
    """Images and kernels alone; the losses of the taps are stacked; nothing changes its type."""
    operations = Operations("copy_", "clone", "_to_copy", "stack")
    found = one_step(stage, operations, f"training.cache_mib={0 if live else 64}")
    assert found == Counter(LOADING) + Counter(copies)


@pytest.mark.skipif(VERSION < (2, 14), reason="older versions of torch copy more in their own operations")
@pytest.mark.parametrize(
    ("stage", "live", "conversions", "clones"),
    [
        # To bfloat16: weight and bias of each convolution, and the image that enters each cascade; back to float32: the
        # image that leaves it. Backward: the same for the gradients, except of the first image. The sums of the last
        # convolutions, and of the image gradient of the second cascade, are float32 first. A live teacher adds its
        # weights, which are converted in every step although they do not change, its images and its sums.
        ("output", False, 12 + 2 + 2 + 12 + 2 + 1 + 3, 2 + 2 * 3 + 4),
        ("output", True, 12 + 2 + 2 + 12 + 2 + 1 + 3 + (16 + 2 + 2 + 2), 2 + 2 * 3 + 4 + 2),
        # Energies of two taps are added in float32, a slice at a time; backward, their features are converted whole,
        # and so are the gradients. The last convolution of the last cascade has no gradient, and the teacher's not run.
        ("attention", False, 12 + 2 + 2 + 10 + 1 + 1 + 3 + (2 * BATCH + 2 + 2), 2 + 1 * 3 + 3),
        (
            "attention",
            True,
            12 + 2 + 2 + 10 + 1 + 1 + 3 + (2 * BATCH + 2 + 2) + (14 + 2 + 1 + 1 + 2 * BATCH),
            2 + 1 * 3 + 3 + 2,
        ),
    ],
)
def test_conversions_of_a_step_in_bfloat16(
    one_step: Any, stage: str, live: bool, conversions: int, clones: int
) -> None:
    """Every copy of a step is a conversion, one of an image or a kernel, or of the loading."""
    operations = Operations("copy_", "clone", "_to_copy")
    found = one_step(stage, operations, f"training.cache_mib={0 if live else 64}", "training.precision=bf16")
    gradients = 2 if stage == "output" else 1  # of the last kernels, into the layout of the kernels
    assert found == {"_to_copy": conversions + LOADING["_to_copy"], "clone": clones, "copy_": gradients}


class Kept:
    """Counts distinct tensors, and their bytes, that a step keeps for its backward pass, without the weights."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        self._packed: list[Any] = []
        self._weights: list[nn.Parameter] = []
        packed = self._packed

        class Saved(checkpointed._Saved):
            """Tensor of a checkpointed layer, kept unless a recomputation takes its place."""

            def __init__(self, tensor: Tensor) -> None:
                super().__init__(tensor)
                packed.append(self)

        patch.setattr(checkpointed, "_Saved", Saved)
        self._hooks = saved_tensors_hooks(self._pack, self._unpack)

    def __enter__(self) -> None:
        self._hooks.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    def exclude(self, network: nn.Module) -> None:
        self._weights = list(network.parameters())

    def _pack(self, tensor: Tensor) -> Tensor:
        self._packed.append(tensor)
        return tensor

    def _unpack(self, tensor: Tensor) -> Tensor:
        """Count, when the backward pass begins, what the forward pass has packed."""
        weights = {_place(weight) for weight in self._weights}
        kept = [one if isinstance(one, Tensor) else one.source for one in self._packed]
        distinct = {_place(one): one for one in kept if isinstance(one, Tensor)}
        for one in (one for place, one in distinct.items() if place not in weights):
            self.counts["tensors"] += 1
            self.counts["bytes"] += one.numel() * one.element_size()
        self._packed.clear()
        return tensor


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


IMAGE = BATCH * SIDE**2
FEATURES = CHANNELS * IMAGE
MASK = 4 * BATCH * (SIDE // 2 + 1)
WEIGHTS = CASCADES * 9 * (CHANNELS + CHANNELS**2 + CHANNELS)
MAPS = CASCADES * 4 * (2 * IMAGE + 2 * BATCH)
"""Of each tap the energy of its features, the difference of the maps, and two norms of each slice."""


@pytest.mark.parametrize(
    ("stage", "precision", "tensors", "size"),
    [
        # In float32 the first features of a cascade are recomputed from its image, so that one of two maps is kept. Of
        # each term of the output stage the difference of two images is kept.
        ("output", "fp32", 2 + 2 + 2 + 1, 4 * (2 * FEATURES + 2 * IMAGE + 2 * IMAGE) + MASK),
        ("attention", "fp32", 2 + 2 + 2 * 4 + 1, 4 * (2 * FEATURES + 2 * IMAGE) + MAPS + MASK),
        # In bfloat16 both maps of a cascade are kept, and the converted weights.
        ("output", "bf16", 4 + 2 + 6 + 2 + 1, 2 * (4 * FEATURES + 2 * IMAGE + WEIGHTS) + 4 * 2 * IMAGE + MASK),
        # The energies of the two taps are computed from the features that are kept.
        ("attention", "bf16", 4 + 2 + 6 + 2 * 4 + 1, 2 * (4 * FEATURES + 2 * IMAGE + WEIGHTS) + MAPS + MASK),
    ],
)
def test_tensors_kept_for_the_backward_pass(
    one_step: Any, monkeypatch: pytest.MonkeyPatch, stage: str, precision: str, tensors: int, size: int
) -> None:
    found = one_step(stage, Kept(monkeypatch), f"training.precision={precision}")
    assert found == {"tensors": tensors, "bytes": size}
