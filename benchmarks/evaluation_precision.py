"""Change of scores and time of an evaluation in bfloat16: ``python -m benchmarks.evaluation_precision DATA/brain``.

The networks of the zoo reconstruct the slices of a folder in KD-MRI's layout in float32 and under autocast to bfloat16,
in interleaved rounds; data consistency and scores are float32 in both. A score is that of a volume.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.machine import processor
from i2ikd import create, default_registry
from i2ikd.engine.batches import ordered
from i2ikd.engine.build import build_network, load_weights
from i2ikd.engine.device import keep_large_blocks
from i2ikd.engine.precision import Precision, autocast
from i2ikd.evaluation.predict import evaluate_network, make_metrics
from i2ikd.evaluation.records import per_volume
from i2ikd.network import apply, to_memory_format
from i2ikd.task import Task
from i2ikd.zoo import located

NETWORKS = ("brain-4x-teacher", "brain-4x-student")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
_CPU = torch.device("cpu")


def network_of(name: str) -> nn.Module:
    """Return a network of the zoo in PyTorch."""
    folder = located(f"zoo:{name}")
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    registry = default_registry()
    network = build_network(registry, stated["model"], stated["options"], 0, name)
    load_weights(network, folder, (registry, stated["model"], stated["options"]))
    return network


def scores(network: nn.Module, task: Task, split: str) -> dict[str, dict[str, np.ndarray]]:
    """Return the scores of every volume by precision and metric."""
    metrics = make_metrics(default_registry(), task)
    found: dict[str, dict[str, np.ndarray]] = {}
    for precision in PRECISIONS:
        records = evaluate_network(network, task, task.dataset(split), metrics, "network", 0, _CPU, precision)
        found[precision] = {
            column: np.array(list(per_volume(records, metric).values())) for column, metric in task.columns.items()
        }
    return found


@torch.inference_mode()
def seconds(network: nn.Module, task: Task, split: str, rounds: int) -> dict[str, float]:
    """Return the median seconds of the forward passes over a few batches, in interleaved rounds."""
    deployed = to_memory_format(network, _CPU).eval()
    batches = [batch for _, batch in zip(range(4), ordered(task.dataset(split), 4))]
    taken: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for turn in range(rounds + 1):
        for precision in PRECISIONS:
            start = time.perf_counter()
            with autocast(_CPU, precision):
                for batch in batches:
                    apply(deployed, batch.to(_CPU, memory_format=torch.channels_last))
            if turn:
                taken[precision].append(time.perf_counter() - start)
    return {precision: float(np.median(times)) for precision, times in taken.items()}


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--split", default="test", show_default=True)
@click.option("--size", default=128, show_default=True, help="Side of the slices; the networks are trained with 128.")
@click.option("--rounds", default=5, show_default=True, help="Interleaved rounds of the time.")
def main(root: Path, split: str, size: int, rounds: int) -> None:
    """Print the changes of the scores, and the time of the networks."""
    keep_large_blocks()
    dataset = {"name": "folder", "root": str(root), "size": [size, size], "hold_out": 0.5}
    task: Task = create("task", "mri-recon", dataset=dataset, mask={"name": "variable-density", "axis": 0})
    table = Table("network", "score", "float32", "mean change", "largest change", "speed in bfloat16")
    for name in NETWORKS:
        network = network_of(name)
        found, taken = scores(network, task, split), seconds(network, task, split, rounds)
        ratio = f"{taken['fp32'] / taken['bf16']:.2f} x"
        for column, before in found["fp32"].items():
            change = found["bf16"][column] - before
            largest = change[np.abs(change).argmax()]
            figures = f"{before.mean():.4f}", f"{change.mean():+.1e}", f"{largest:+.1e}"
            table.add_row(name, column, *figures, ratio if column == "psnr" else "")
    console = Console(width=120)
    console.print(f"{processor()}, torch {torch.__version__}, threads {torch.get_num_threads()}", highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
