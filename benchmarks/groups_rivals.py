"""Rows of the table: both training stages against an expert's loop and published libraries, and over sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.measure import Plan, Spread, ratio, seconds
from benchmarks.rivals.run import installed
from benchmarks.setting import Precision, Setting
from benchmarks.table import Row, number
from benchmarks.worker import Reply

SIZES, BATCHES = (64, 128, 256, 320), (1, 4, 16)
_STAGES = {"output": ("output stage, cached", 2.0), "features": ("attention stage, live teacher", 1.5)}
"""Name of each stage, and the target against the expert's loop."""


def rivals(plan: Plan) -> list[Row]:
    """Measure a step of both stages against every installed rival, at the plan's size."""
    precisions: list[Precision] = ["fp32", "bf16"] if plan.bf16 or plan.base.device == "cuda" else ["fp32"]
    rows = []
    for stage, (name, reach) in _STAGES.items():
        for precision in precisions:
            base = replace(plan.base, stage=stage, precision=precision)
            replies = plan.measure(_variants(base))
            rows += _rows(f"rivals, {base.device}", f"{name}, {precision}", replies, reach)
    return rows


def grid(plan: Plan) -> list[Row]:
    """Measure a step of both stages against every installed rival, at all sizes and batches.

    The attention stage has no batch of 1: its maps are normalised over the batch, so that its loss would be 0.
    """
    precision: Precision = "bf16" if plan.bf16 or plan.base.device == "cuda" else "fp32"
    rows = []
    for size in SIZES:
        for batch in BATCHES:
            for stage, (name, _) in _STAGES.items():
                if stage == "features" and batch == 1:
                    continue
                sizes = replace(plan.base, size=size, batch=batch, samples=2 * batch)
                replies = plan.measure(_variants(replace(sizes, stage=stage, precision=precision)))
                what = f"{name}, {precision}, {size} pixels, batch {batch}"
                rows.append(_against_fastest(f"grid, {plan.base.device}", what, replies))
    return rows


def _variants(base: Setting) -> dict[str, tuple[str, Setting]]:
    engine = replace(base, cache=base.stage == "output")
    return {"engine": ("engine", engine)} | {name: (name, base) for name in installed()}


def _rows(group: str, what: str, replies: Mapping[str, list[Reply]], reach: float) -> list[Row]:
    engine = replies["engine"]
    rows = [
        Row(
            group,
            f"{what}, against {name}",
            ratio(rival, engine),
            reach=reach if name == "expert" else 1.0,
            detail=f"{_milliseconds(engine)} a step instead of {_milliseconds(rival)}",
        )
        for name, rival in replies.items()
        if name != "engine"
    ]
    own, other = engine[-1].peak_mib, replies["expert"][-1].peak_mib
    detail = f"{own:.0f} MiB instead of {other:.0f}, without the process that prefetches"
    memory = Spread.of([own / max(other, 1)])
    return [*rows, Row(group, f"{what}, peak memory of the expert's process", memory, "x", 1.0, False, detail)]


def _against_fastest(group: str, what: str, replies: Mapping[str, list[Reply]]) -> Row:
    others = {name: rival for name, rival in replies.items() if name != "engine"}
    fastest = min(others, key=lambda name: seconds(others[name]).median)
    engine = replies["engine"]
    detail = f"{fastest}; {_milliseconds(engine)} a step instead of {_milliseconds(others[fastest])}"
    return Row(group, f"{what}, against the fastest rival", ratio(others[fastest], engine), reach=1.0, detail=detail)


def _milliseconds(replies: Sequence[Reply]) -> str:
    return f"{number(1e3 * seconds(list(replies)).median)} ms"
