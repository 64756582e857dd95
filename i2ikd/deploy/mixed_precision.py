"""Mixed precision: sensitive convolutions stay float32 where int8 loses more quality than a bound."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from i2ikd.deploy.agreement import compare
from i2ikd.deploy.slices import EvenSlices
from i2ikd.exporter import Exporter, ExportRequest
from i2ikd.metric import Metric
from i2ikd.network import apply
from i2ikd.task import Task


def choose_full_precision(
    exporter: Exporter,
    request: ExportRequest,
    task: Task,
    metric: Mapping[str, Metric],
    max_loss: float,
    slices: int,
    name: str,
) -> tuple[frozenset[str], float]:
    """Return the convolutions that stay float32, and the loss with them.

    Sets are tried in the order of ``sensitive_convolutions``; the first that loses at most ``max_loss`` is chosen, or
    else the one that loses least. The loss is measured on the validation split: on test slices the choice would be part
    of the test.

    Args:
        exporter: writes and loads the file.
        request: in int8, with calibration data.
        task: of the network.
        metric: one, by column.
        max_loss: most that may be lost, in the unit of the metric.
        slices: validation slices, evenly spaced.
        name: of the file, with the ending of its format.

    Raises:
        UserError: a file cannot be written or loaded.
    """
    ((column, scored),) = metric.items()
    held_out = EvenSlices(task.dataset("val"), slices)
    best: tuple[frozenset[str], float] | None = None
    for kept in sensitive_convolutions(request):
        tried = dataclasses.replace(request, full_precision=kept)
        with tempfile.TemporaryDirectory(prefix="i2ikd-") as folder:
            path = Path(folder) / name
            exporter.write(tried, path)
            found = compare(exporter.load(tried, path), tried, task, held_out, metric, checked=False).metrics[column]
        gain = found["file"] - found["network"]
        loss = -gain if scored.higher_is_better else gain
        if best is None or loss < best[1]:
            best = kept, loss
        if loss <= max_loss:
            return kept, loss
    assert best is not None
    return best


def sensitive_convolutions(request: ExportRequest) -> Iterator[frozenset[str]]:
    """Yield sets of convolutions to leave in float32, from none to all that read or write images, each once.

    These are: none; the last one that is computed; the first and the last; and those with at most as many channels, in
    or out, as the image has, such as the first and last of each cascade. Sets of all convolutions are left out.

    Args:
        request: whose network is run once on random values.
    """
    order = _computed(request)
    image = request.batch.input.shape[1]
    thin = [path for path, module in order.items() if min(module.in_channels, module.out_channels) <= image]
    names = list(order)
    sets = [[], names[-1:], [*names[:1], *names[-1:]], [*names[:1], *thin, *names[-1:]]]
    seen: set[frozenset[str]] = set()
    for kept in map(frozenset, sets):
        if kept not in seen and (not kept or len(kept) < len(order)):
            seen.add(kept)
            yield kept


def _computed(request: ExportRequest) -> dict[str, nn.Conv2d | nn.ConvTranspose2d]:
    """Return the convolutions of the network by path, in the order of their first call."""
    found: dict[str, nn.Conv2d | nn.ConvTranspose2d] = {}
    paths = {
        module: path
        for path, module in request.network.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    }

    def record(module: nn.Module, arguments: object) -> None:
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        found.setdefault(paths[module], module)

    hooks = [module.register_forward_pre_hook(record) for module in paths]
    try:
        with torch.inference_mode():
            apply(request.network, request.batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found
