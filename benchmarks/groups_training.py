"""Rows of the table: both training stages against the plain loop and the convolution's speed, memory, growth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.measure import Plan, Spread, exponent, ratio, seconds, share
from benchmarks.setting import Precision, Setting
from benchmarks.table import Row, number
from benchmarks.worker import Reply

Variants = dict[str, tuple[str, Setting]]


def _plain(base: Setting) -> Variants:
    return {"plain": ("plain", base), "plain, teacher detached": ("plain", replace(base, through_teacher=False))}


def _precisions(plan: Plan) -> list[Precision]:
    return ["fp32", "bf16"] if plan.bf16 or plan.base.device == "cuda" else ["fp32"]


def output_stage(plan: Plan) -> list[Row]:
    """Measure the output stage (target + imitation) with cached teacher images."""
    base = replace(plan.base, stage="output")
    variants = _plain(base)
    for precision in _precisions(plan):
        setting = replace(base, precision=precision)
        variants |= {
            precision: ("engine", setting),
            f"convolution {precision}": ("convolution", setting),
            f"gemm {precision}": ("gemm", setting),
        }
    replies = plan.measure(variants)
    group, rows = f"output stage, {base.device}", list[Row]()
    for precision, reach in zip(_precisions(plan), (8.0, 14.0)):
        engine, limit = replies[precision], replies[f"convolution {precision}"]
        rows += _against_plain(group, f"{precision}, cached", replies, engine, reach)
        rows.append(_limit_row(group, precision, engine, limit, replies[f"gemm {precision}"]))
    return rows + _memory_rows(group, replies, _precisions(plan))


def _limit_row(group: str, precision: str, engine: list[Reply], limit: list[Reply], gemm: list[Reply]) -> Row:
    detail = f"convolution {_speed(limit)}, matrix product {_speed(gemm)}, step {_speed(engine, fastest=False)}"
    return Row(
        group, f"{precision}, step's share of the convolution's speed", share(engine, limit), "%", 80, True, detail
    )


def _speed(replies: list[Reply], fastest: bool = True) -> str:
    rates = [r.notes["operations"] / (r.fastest if fastest else r.seconds) / 1e9 for r in replies]
    return f"{number(Spread.of(rates).median)} GFLOP/s"


def attention_stage(plan: Plan) -> list[Row]:
    """Measure the attention stage with a live and with a cached teacher."""
    base = replace(plan.base, stage="features")
    variants = _plain(base)
    for precision in _precisions(plan):
        for name, cache in (("live", False), ("cached", True)):
            variants[f"{precision} {name}"] = "engine", replace(base, precision=precision, cache=cache)
    replies = plan.measure(variants)
    group, rows = f"attention stage, {base.device}", list[Row]()
    for precision, reach in zip(_precisions(plan), (6.0, 10.0)):
        rows += _against_plain(group, f"{precision}, live teacher", replies, replies[f"{precision} live"], reach)
        rows += _against_plain(group, f"{precision}, cached", replies, replies[f"{precision} cached"], None)
    return rows + _memory_rows(group, replies, ["fp32 live", "fp32 cached"])


def _against_plain(
    group: str, name: str, replies: dict[str, list[Reply]], engine: list[Reply], reach: float | None
) -> list[Row]:
    time_text = f"{number(seconds(engine).median)} s a step"
    return [
        Row(
            group,
            f"{name}, against {plain}",
            ratio(replies[plain], engine),
            reach=reach,
            detail=f"{time_text} instead of {number(seconds(replies[plain]).median)}",
        )
        for plain in ("plain", "plain, teacher detached")
    ]


def _memory_rows(group: str, replies: dict[str, list[Reply]], engines: Sequence[str]) -> list[Row]:
    rows, plain = [], replies["plain"][-1]
    for name in engines:
        engine = replies[name][-1]
        for what, own, other in (
            ("process", engine.peak_mib, plain.peak_mib),
            ("beyond what it imports", engine.peak_mib - engine.base_mib, plain.peak_mib - plain.base_mib),
        ):
            value = Spread.of([own / max(other, 1)])
            detail = f"{own:.0f} MiB instead of {other:.0f}"
            rows.append(Row(group, f"peak memory of plain's, {name}, {what}", value, "x", 0.5, False, detail))
    return rows


def growth(plan: Plan) -> list[Row]:
    """Measure time against pixels and samples, and memory against epochs."""
    return [_pixels(plan), _samples(plan), _epochs(plan)]


def _pixels(plan: Plan) -> Row:
    sizes = [plan.base.size * quarter // 4 for quarter in (1, 2, 3, 4)]
    variants: Variants = {str(size): ("engine", replace(plan.base, size=size)) for size in sizes}
    replies = plan.measure(variants)
    times = [seconds(replies[str(size)]) for size in sizes]
    per_pixel = [1e9 * t.median / (s * s * plan.base.batch) for t, s in zip(times, sizes)]
    detail = ", ".join(f"{size}: {number(ns)} ns a pixel" for size, ns in zip(sizes, per_pixel))
    power = exponent([float(size * size) for size in sizes], times)
    return Row("growth", "power of the pixels that a step's time grows with", power, "", 1.1, False, detail)


def _samples(plan: Plan) -> Row:
    counts = [plan.base.batch * batches for batches in (2, 4, 8, 16)]
    small = replace(plan.base, size=max(16, plan.base.size // 4), arms=1, epochs=2)
    variants: Variants = {str(count): ("arms", replace(small, samples=count)) for count in counts}
    replies = plan.measure(variants, units=1)
    times = [seconds(replies[str(count)]) for count in counts]
    detail = ", ".join(f"{count}: {number(1e3 * t.median / count)} ms a slice" for count, t in zip(counts, times))
    power = exponent([float(count) for count in counts], times)
    return Row("growth", "power of the slices that a run's time grows with", power, "", 1.1, False, detail)


def _epochs(plan: Plan) -> Row:
    """Compare allocated memory, which grows with leaks only; resident memory includes gaps of the allocator."""
    with plan.workers({"engine": ("engine", plan.base)}) as workers:
        steps = max(1, plan.base.samples // plan.base.batch)
        epochs = [workers["engine"].run_units(steps) for _ in range(5)]
    allocated, resident = (
        ", ".join(f"{memory:.0f}" for memory in values)
        for values in ([e.allocated_mib for e in epochs], [e.resident_mib for e in epochs])
    )
    detail = f"{allocated} MiB after epochs 1 to 5; resident {resident}"
    grown = Spread.of([epochs[-1].allocated_mib / epochs[1].allocated_mib])
    return Row("growth", "memory allocated after epoch 5, of that after epoch 2", grown, "x", 1.02, False, detail)
