"""Model card of a bundle: interface, quality, precision and latency, data, training, limits of use."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from i2ikd import __version__
from i2ikd.evaluation.machine import cpu_model

if TYPE_CHECKING:
    from i2ikd.deploy.bundle import Origin
    from i2ikd.deploy.export import ExportReport

_HUB_LICENCES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "cc0-1.0", "cc-by-3.0", "cc-by-4.0"),
    *("cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
}
"""Identifiers of licences on Hugging Face; others are ``other`` with a name."""


def model_card(
    origin: Origin,
    reports: Sequence[ExportReport],
    inputs: Mapping[str, Sequence[int | str]],
    prepared: bool = False,
) -> str:
    """Return the text of ``README.md`` in Markdown with the metadata of Hugging Face.

    Args:
        origin: of the network.
        reports: of the models of the bundle.
        inputs: shape of each input by name.
        prepared: whether the program of the bundle reads volumes.
    """
    parts = [
        _front_matter(origin),
        f"# {origin.name}\n",
        *_usage(prepared),
        "## Interface\n",
        _table(["input", "shape", "type"], [[name, f"`{list(shape)}`", "float32"] for name, shape in inputs.items()]),
        "The output is an image `[batch, channels, height, width]`, float32.\n",
        "## Models: precision and latency\n",
        _models(reports),
        f"Test slices: {reports[0].agreement.slices}. Latency: one slice, medians of alternating runs on "
        f"{cpu_model()}, {_threads()} thread(s){_load()}.\n",
        *_quality(origin),
        "## Data\n",
        _data(origin),
        "## Training\n",
        _training(origin),
        "## Limits of use\n",
        "The network was evaluated on the data described above and on no other. Evaluate it on data of another origin "
        f"before use. It is certified for no purpose.\n{_sentence(origin, 'limits')}",
        "## Citation\n",
        "\n".join(f"- {work}" for work in _citation(origin)) or "None stated.",
        "",
    ]
    return "\n".join(parts)


def _front_matter(origin: Origin) -> str:
    """Return the metadata as YAML, in the subset that JSON values are."""
    stated = str(origin.card.get("licence", ""))
    slug = re.sub(r"[^a-z0-9.]+", "-", stated.lower()).strip("-")
    known = slug in _HUB_LICENCES
    licence = {"license": slug if known else "other", **({"license_name": slug} if slug and not known else {})}
    row = next((row for row in origin.rows if row["arm"] == origin.arm), None)
    scores = [] if row is None else [(key, value["mean"]) for key, value in row.items() if _is_score(value)]
    index = {
        "name": origin.name,
        "results": [
            {
                "task": {"type": "image-to-image"},
                "dataset": {"type": str(origin.task["name"]), "name": origin.card.get("data") or origin.task["name"]},
                "metrics": [{"type": key, "value": round(value, 6)} for key, value in scores],
            }
        ],
    }
    values: dict[str, Any] = {
        "library_name": "onnxruntime",
        "pipeline_tag": "image-to-image",
        **licence,
        "tags": ["onnx", "i2ikd", "knowledge-distillation", str(origin.model)],
        **({"model-index": [index]} if scores else {}),
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---\n"])


def _usage(prepared: bool) -> list[str]:
    volume = (
        "python run.py --input scan.nii.gz --output image.nii.gz       # a volume; also .npy [slices, height, width]\n"
    )
    return [
        "```console\npip install numpy onnxruntime\n"
        "python run.py --check                                         # needs numpy and onnxruntime alone\n"
        f"{volume if prepared else ''}"
        "python run.py --input inputs.npz --output image.npy           # inputs of the network\n```\n"
    ]


def _models(reports: Sequence[ExportReport]) -> str:
    columns = list(reports[0].agreement.metrics)
    rows = []
    for report in reports:
        values = [f"{report.agreement.metrics[column]['file']:.4f}" for column in columns]
        latency = f"{report.latency['file'].median_ms:.2f}"
        size = f"{report.size_bytes:,}"
        name, runtime = report.path.name, report.runtime
        rows.append([name, report.precision, runtime, size, *values, latency, f"{report.speedup:.2f}"])
    network = [f"{reports[0].agreement.metrics[column]['network']:.4f}" for column in columns]
    rows.append(
        ["(network)", "fp32", "torch, eager", "–", *network, f"{reports[0].latency['eager'].median_ms:.2f}", "1"]
    )
    heads = ["file", "precision", "runtime", "bytes", *columns, "latency (ms)", "speed-up over eager torch"]
    return _table(heads, rows)


def _is_score(value: Any) -> bool:
    return isinstance(value, Mapping) and "mean" in value and value["mean"] is not None


def _quality(origin: Origin) -> list[str]:
    """Return the section on quality: rows of the comparison with intervals, and the worst subject."""
    scored = [key for row in origin.rows for key, value in row.items() if _is_score(value)]
    columns = [key for key in dict.fromkeys(scored) if key != "gap_closed"]
    if not columns:
        return ["## Quality\n", "Not stated: the run is not part of a comparison.\n"]
    rows = []
    for row in origin.rows:
        cells = [
            f"{row[c]['mean']:.4g} [{row[c]['low']:.4g}, {row[c]['high']:.4g}]" if _is_score(row.get(c)) else "–"
            for c in columns
        ]
        arm = str(row["arm"])
        worst = origin.worst.get(arm)
        rows.append([f"**{arm}**" if arm == origin.arm else arm, *cells, "–" if worst is None else f"{worst:.4g}"])
    note = "Means with 95 % intervals over the test subjects" + (
        f"; this network is **{origin.arm}**" if origin.arm else ""
    )
    defined = "; ".join(f"{column}: `{metric}`" for column, metric in origin.columns.items())
    note += f". Metrics: {defined}" if defined else ""
    return ["## Quality\n", f"{note}.\n", _table(["arm", *columns, f"{columns[0]}, worst subject"], rows)]


def _data(origin: Origin) -> str:
    described = ", ".join(f"{label} {text}" for label, text in origin.manifest.get("data", {}).items())
    digests = "; ".join(f"{split} `{digest}`" for split, digest in origin.data_digests.items())
    stated = {
        "Data": origin.card.get("data"),
        "Samples": described,
        "Slices": origin.slices,
        "Licence of the data": origin.card.get("data_licence"),
        "Attribution": origin.card.get("attribution"),
        "SHA-256 of what the samples depend on": digests,
    }
    return "\n".join(f"- {label}: {(text or 'not stated').rstrip('.')}." for label, text in stated.items()) + "\n"


def _training(origin: Origin) -> str:
    manifest = origin.manifest
    versions = ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items())
    lines = [
        f"- Model: `{origin.model}`, `{json.dumps(dict(origin.options))}`.",
        *[f"- {line}." for line in origin.stages],
        f"- From {manifest.get('started', '?')} to {manifest.get('ended', '?')}, {manifest.get('device', '?')}, "
        f"{manifest.get('precision', '?')}, effective batch {manifest.get('effective_batch', '?')}.",
        f"- Versions: {versions or 'not recorded'}.",
        f"- Commit of i2ikd: {manifest.get('commit') or 'not recorded'}.",
        f"- Exported by i2ikd {__version__}, commit {origin.commit or 'not recorded'}.",
        f"- Digest of the run: `{origin.digest}`.",
        *([f"- Trained by `{origin.card['command']}`."] if origin.card.get("command") else []),
        f"- Exported by `i2ikd export OUT/{origin.run} --bundle DIR`.",
        f"- Licence of the weights: {origin.card.get('licence') or 'not stated'}.",
    ]
    return "\n".join(lines) + "\n"


def _citation(origin: Origin) -> list[str]:
    return list(dict.fromkeys([*origin.card.get("citation", []), *origin.papers]))


def _sentence(origin: Origin, key: str) -> str:
    return f"\n{origin.card[key]}\n" if origin.card.get(key) else ""


def _load() -> str:
    """Return the load of the machine, which lengthens latencies; empty where the system does not state it."""
    if not hasattr(os, "getloadavg"):
        return ""
    return f"; load of the machine in these minutes: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
