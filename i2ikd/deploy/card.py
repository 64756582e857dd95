"""Model card of a bundle: interface, quality, precision and latency, origin, limits of use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from i2ikd.evaluation.machine import cpu_model

if TYPE_CHECKING:
    from i2ikd.deploy.bundle import Origin
    from i2ikd.deploy.export import ExportReport

_HEAD = """---
library_name: onnxruntime
pipeline_tag: image-to-image
tags:
- onnx
- i2ikd
- knowledge-distillation
---
"""


def model_card(origin: Origin, reports: Sequence[ExportReport], inputs: Mapping[str, Sequence[int | str]]) -> str:
    """Return the text of ``README.md`` in Markdown with the metadata of Hugging Face.

    Args:
        origin: of the network.
        reports: of the models of the bundle.
        inputs: shape of each input by name.
    """
    parts = [
        f"{_HEAD}\n# {origin.name}\n",
        "```console\npython run.py --check                                # needs numpy and onnxruntime alone\n"
        "python run.py --input inputs.npz --output image.npy\n```\n",
        "## Interface\n",
        _table(["input", "shape", "type"], [[name, f"`{list(shape)}`", "float32"] for name, shape in inputs.items()]),
        "The output is an image `[batch, channels, height, width]`, float32.\n",
        "## Models\n",
        _models(reports),
        f"Test slices: {reports[0].agreement.slices}. Latency: one slice, medians of alternating runs on "
        f"{cpu_model()}, {_threads()} thread(s).\n",
        *_quality(origin),
        "## Origin\n",
        _origin(origin),
        "## Limits of use\n",
        "The network was evaluated on the data described above and on no other. Evaluate it on data of another origin "
        "before use. It is certified for no purpose.\n",
        "## Citation\n",
        "\n".join(f"- {paper}" for paper in origin.papers) + "\n" if origin.papers else "None stated.\n",
    ]
    return "\n".join(parts)


def _models(reports: Sequence[ExportReport]) -> str:
    columns = list(reports[0].agreement.metrics)
    rows = []
    for report in reports:
        values = [f"{report.agreement.metrics[column]['file']:.4f}" for column in columns]
        latency = f"{report.latency['file'].median_ms:.2f}"
        rows.append(
            [
                report.path.name,
                report.precision,
                report.runtime,
                f"{report.size_bytes:,}",
                *values,
                latency,
                f"{report.speedup:.2f}",
            ]
        )
    network = [f"{reports[0].agreement.metrics[column]['network']:.4f}" for column in columns]
    rows.append(
        ["(network)", "fp32", "torch, eager", "–", *network, f"{reports[0].latency['eager'].median_ms:.2f}", "1"]
    )
    heads = ["file", "precision", "runtime", "bytes", *columns, "latency (ms)", "speed-up over eager torch"]
    return _table(heads, rows)


def _quality(origin: Origin) -> list[str]:
    """Return the section on quality: rows of the comparison with intervals, and the worst subject."""
    scored = [
        key for row in origin.rows for key, value in row.items() if isinstance(value, Mapping) and "mean" in value
    ]
    columns = list(dict.fromkeys(scored))
    if not columns:
        return []
    rows = []
    for row in origin.rows:
        cells = [
            f"{row[c]['mean']:.4g} [{row[c]['low']:.4g}, {row[c]['high']:.4g}]" if row.get(c) else "–" for c in columns
        ]
        arm = str(row["arm"])
        worst = origin.worst.get(arm)
        rows.append([f"**{arm}**" if arm == origin.arm else arm, *cells, "–" if worst is None else f"{worst:.4g}"])
    note = "Means with 95 % intervals over the test subjects" + (
        f"; this network is **{origin.arm}**" if origin.arm else ""
    )
    return ["## Quality\n", f"{note}.\n", _table(["arm", *columns, f"{columns[0]}, worst subject"], rows)]


def _origin(origin: Origin) -> str:
    manifest = origin.manifest
    versions = ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items())
    data = ", ".join(f"{label} {text}" for label, text in manifest.get("data", {}).items())
    lines = [
        f"- Model: `{origin.model}`, `{json.dumps(dict(origin.options))}`.",
        f"- Data: {data or 'not recorded'}.",
        f"- Digest of the run, which includes the digest of its data: `{origin.digest}`.",
        f"- Trained from {manifest.get('started', '?')} to {manifest.get('ended', '?')}, "
        f"{manifest.get('device', '?')}, {manifest.get('precision', '?')}, "
        f"effective batch {manifest.get('effective_batch', '?')}.",
        f"- Versions: {versions or 'not recorded'}.",
        "- Licence of the data: state it here before you share the folder.",
    ]
    return "\n".join(lines) + "\n"


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
