"""Costs of sizes before they are trained, and the budget that they are compared with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from i2ikd.deploy.export import ExportSettings, choose_exporter, export_request
from i2ikd.engine.build import build_network
from i2ikd.evaluation.latency import latency_of_calls, latency_of_many
from i2ikd.evaluation.profile import count_macs, count_parameters
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.networks import transformed
from i2ikd.experiment.sweep import SizedArms

EAGER = "eager"
RUNTIMES = {EAGER: "", "onnxruntime": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
"""Endings of the files that runtimes compute, by name of the runtime; eager torch has none."""


@dataclass(frozen=True)
class SizeCost:
    """Costs of one slice.

    Attributes:
        params: number of parameters.
        macs: multiply-accumulate operations.
        bytes: of the file in its runtime, or of the parameters; ``None`` if a smaller cost exceeds the budget.
        latency_ms: median in the runtime; ``None`` if not measured.
    """

    params: int
    macs: int
    bytes: int | None = None
    latency_ms: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the costs as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Budget:
    """Limits of the costs; ``None``: no limit.

    Attributes:
        latency_ms: of one slice in the runtime.
        params: number of parameters.
        macs: multiply-accumulate operations of one slice.
        bytes: of the file in the runtime, or of the parameters.
    """

    latency_ms: float | None = None
    params: float | None = None
    macs: float | None = None
    bytes: float | None = None

    @property
    def quantity(self) -> str:
        """The cost that sizes are sorted by: the first that is limited, or ``params``."""
        return next((name for name, limit in asdict(self).items() if limit is not None), "params")

    def exceeded(self, cost: SizeCost) -> list[str]:
        """Return the limits that a cost exceeds, as text.

        Args:
            cost: of a size.
        """
        found = []
        for name, limit in asdict(self).items():
            value = getattr(cost, name)
            if limit is not None and value is not None and value > limit:
                found.append(f"{name} {value:,.4g} > {limit:,.4g}")
        return found


def measure(graph: RunGraph, groups: Sequence[SizedArms], budget: Budget, runtime: str) -> list[SizeCost]:
    """Return the costs of every size, of networks with initial weights.

    Files are written, and timed in alternating rounds, if latency or bytes are limited, for sizes within the limits of
    parameters and multiply-adds alone.

    Args:
        graph: of the experiment with an arm for every size.
        groups: the arms of each size.
        budget: the limits.
        runtime: one of ``RUNTIMES``.

    Raises:
        UserError: a network cannot be built, or not written for the runtime.
    """
    example = graph.context.example()
    costs, networks = [], dict[int, nn.Module]()
    for number, group in enumerate(groups):
        network = _network(graph, group.main)
        cost = SizeCost(count_parameters(network)[0], count_macs(network, example)[0])
        costs.append(cost)
        if not budget.exceeded(cost):
            networks[number] = network
    if budget.latency_ms is None and (budget.bytes is None or runtime == EAGER):
        return [_with_bytes(cost, networks.get(number)) for number, cost in enumerate(costs)]
    if runtime == EAGER:
        latencies = latency_of_many({str(number): network for number, network in networks.items()}, example)
        return [
            cost if number not in networks else _timed(_with_bytes(cost, networks[number]), latencies[str(number)])
            for number, cost in enumerate(costs)
        ]
    return _of_files(graph, costs, networks, runtime)


def _network(graph: RunGraph, arm: str) -> nn.Module:
    """Return the untrained network of an arm as it is delivered: without the transforms of training."""
    experiment, context = graph.context.experiment, graph.context
    student = experiment.student_of(experiment.arm(arm))
    where = f"arm {arm!r}, student"
    network = build_network(context.registry, student.model, graph.network_options(student, where), 0, where)
    return transformed(context, network.eval(), graph.trained_transforms(arm))


def _with_bytes(cost: SizeCost, network: nn.Module | None) -> SizeCost:
    if network is None:
        return cost
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    return SizeCost(cost.params, cost.macs, size, cost.latency_ms)


def _timed(cost: SizeCost, latency: Any) -> SizeCost:
    return SizeCost(cost.params, cost.macs, cost.bytes, latency.median_ms)


def _of_files(
    graph: RunGraph, costs: Sequence[SizeCost], networks: Mapping[int, nn.Module], runtime: str
) -> list[SizeCost]:
    """Write a file of each network, and time all of them in the runtime in alternating rounds."""
    context, example = graph.context, graph.context.example()
    sizes: dict[int, int] = {}
    runs: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, network in networks.items():
            file = Path(folder) / str(number) / f"student{RUNTIMES[runtime]}"
            file.parent.mkdir()
            _, exporter = choose_exporter(context.registry, file, None)
            request = export_request(network, context.task, example, ExportSettings())
            exporter.write(request, file)
            loaded = exporter.load(request, file)
            runs[str(number)] = partial(loaded.run, loaded.inputs(example))
            sizes[number] = sum(path.stat().st_size for path in file.parent.iterdir())
        latencies = latency_of_calls(runs)
    return [
        cost
        if number not in networks
        else SizeCost(cost.params, cost.macs, sizes[number], latencies[str(number)].median_ms)
        for number, cost in enumerate(costs)
    ]
