"""Conformance checks of distillers on random features: ``check_distiller``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from i2ikd.distiller import Distiller, Features, Knowledge
from i2ikd.errors import UserError
from i2ikd.sample import Batch
from i2ikd.storage_meter import StorageMeter
from i2ikd.testing.distiller_case import Case, Situation, leaves, mapped
from i2ikd.testing.distiller_precision import SIZES, check_distiller_precision


def check_distiller(
    factory: Callable[[], Distiller],
    *,
    channels: tuple[int, int] = (6, 4),
    size: tuple[int, int] = (16, 12),
    pairs: int = 2,
    image_channels: int = 1,
    exact_at_teacher: bool = True,
    reaches: Literal["taps", "output"] | None = None,
    enlarge: Literal["tile", "repeat"] | None = "tile",
    enlarge_tolerance: float = 1e-4,
    memory_ratio: float | None = 4.0,
    precision_sizes: Sequence[tuple[int, int]] = SIZES,
    vanishes_at_teacher: bool | None = None,
    scale_free: bool = False,
) -> None:
    """Check a distiller on random features of a teacher and a student.

    Args:
        factory: makes a fresh distiller, always with the same options.
        channels: of the teacher's and of the student's taps (1 and 1 for ``tap_kind = "images"``).
        size: height and width of the taps and of the images.
        pairs: number of pairs of taps.
        image_channels: channels of input, target and output.
        exact_at_teacher: whether the loss is least where the outputs of a student of the teacher's shape equal the
            teacher's. False for a distiller that starts from random adapters, draws masks or has a margin, which
            its docstring states.
        reaches: where the gradient must arrive: every tap, or the output. By default as ``uses_taps`` states.
        enlarge: how features are made twice as high and wide without changing the loss: ``tile`` them 2 x 2, or
            ``repeat`` each pixel (for losses on an even grid of positions). ``None``: not checked.
        enlarge_tolerance: relative change that is allowed; large where convolutions see a border. A loss that was a
            sum, or a mean of unit vectors, changes by a factor of 2 or more.
        memory_ratio: at most how many feature maps may be allocated at the peak, per pair and beyond the features
            themselves; a tenth of one is left for weights, masks and matrices of channels. ``None``: not checked. It
            is measured at batch 2, 32 channels, 64 x 64.
        precision_sizes: sizes at which float32 is compared with float64 (``check_distiller_precision``). Empty: none.
        vanishes_at_teacher: see ``check_distiller_precision``; by default ``exact_at_teacher``.
        scale_free: see ``check_distiller_precision``.

    Raises:
        AssertionError: the message names the rule that is broken.
    """
    first = factory()
    batch = max(4, first.least_batch)
    unequal = Situation(channels, (size, size), batch, pairs, image_channels)
    equal = replace(unequal, channels=(channels[0], channels[0]))
    reaches = reaches or ("taps" if first.uses_taps else "output")

    if exact_at_teacher:
        _is_least_at_the_teacher(Case(factory, equal))
    for situation in (equal, unequal):
        case = Case(factory, situation)
        _gives_finite_gradients_on_an_empty_background(case)
        _teaches_the_student_alone(case, reaches)
        _trains_its_own_parameters(case)
        _uses_the_output_as_stated(case)
        _has_constant_knowledge(case)
        _keeps_what_it_learnt_in_its_state(case)
        _computes_in_float32(case)
        if not case.distiller.relates_samples:
            _does_not_relate_samples(case)
        if enlarge is not None:
            _does_not_depend_on_the_image_size(case, enlarge, enlarge_tolerance)
    _takes_one_sample_or_refuses_it(factory, unequal)
    _takes_unequal_sizes_or_refuses_them(factory, unequal)
    if memory_ratio is not None:
        width = 1 if first.tap_kind == "images" else 32
        roomy = Situation((width, width), ((64, 64), (64, 64)), max(2, first.least_batch), pairs, image_channels)
        _allocates_little(Case(factory, roomy), memory_ratio)
    if precision_sizes:
        check_distiller_precision(
            factory,
            sizes=precision_sizes,
            channels=channels,
            pairs=pairs,
            vanishes_at_teacher=exact_at_teacher if vanishes_at_teacher is None else vanishes_at_teacher,
            scale_free=scale_free,
        )


def _name(case: Case) -> str:
    return type(case.distiller).__name__


def _norm(gradients: list[Tensor | None]) -> float:
    return sum(float(g.square().sum()) for g in gradients if g is not None) ** 0.5


def _is_least_at_the_teacher(case: Case) -> None:
    at = case.run(case.teacher, case.teacher)
    generator = torch.Generator().manual_seed(3)
    steepest = 0.0
    for step in (0.01, 0.1, 1.0):
        moved = _displaced(case.teacher, step, generator)
        away = case.run(case.teacher, moved)
        steepest = max(steepest, _norm([*away.taps, away.output]))
        assert float(at.value) <= float(away.value) + 1e-5 * abs(float(at.value)) + 1e-7, (
            f"{_name(case)}: the loss is {float(at.value):.6g} where the student equals the teacher and "
            f"{float(away.value):.6g} where it is {step} away: it must be least at the teacher"
        )
    slope = _norm([*at.taps, at.output])
    assert slope <= 0.01 * steepest + 1e-7, (
        f"{_name(case)}: the gradient is {slope:.3g} where the student equals the teacher (at other points up to "
        f"{steepest:.3g}): it must vanish there"
    )


def _displaced(features: Features, step: float, generator: torch.Generator) -> Features:
    return mapped(features, lambda tensor: tensor + step * torch.randn(tensor.shape, generator=generator))


def _gives_finite_gradients_on_an_empty_background(case: Case) -> None:
    def background(tensor: Tensor) -> Tensor:
        result = torch.zeros_like(tensor)
        result[..., 4:8, 4:8] = tensor[..., 4:8, 4:8]
        return result

    scenes: dict[str, Callable[[Tensor], Tensor]] = {
        "zero but for a small object": background,
        "zero everywhere": torch.zeros_like,
        "1e-7 everywhere": lambda t: torch.full_like(t, 1e-7),
    }
    for words, scene in scenes.items():
        for teacher in (mapped(case.teacher, scene), case.teacher):
            loss = case.run(teacher, mapped(case.student, scene))
            gradients = [*loss.taps, loss.output, *(p.grad for p in case.distiller.parameters())]
            finite = torch.isfinite(loss.value) and all(torch.isfinite(g).all() for g in gradients if g is not None)
            assert finite, f"{_name(case)}: loss or gradient is not finite when the student's features are {words}"


def _teaches_the_student_alone(case: Case, reaches: str) -> None:
    teacher = leaves(case.teacher)
    loss = case.run(teacher, case.student)
    touched = [tap for tap in [*teacher.taps, teacher.output] if tap is not None and tap.grad is not None]
    assert not touched, f"{_name(case)}: a gradient reaches the teacher's features"
    arrived = loss.taps if reaches == "taps" else [loss.output]
    for index, gradient in enumerate(arrived):
        assert gradient is not None and bool(gradient.abs().sum() > 0), (
            f"{_name(case)}: no gradient reaches the student's {f'tap {index}' if reaches == 'taps' else 'output'}"
        )


def _trains_its_own_parameters(case: Case) -> None:
    case.run(case.teacher, case.student)
    for name, parameter in case.distiller.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, (
            f"{_name(case)}: its parameter {name!r} gets no gradient: use it, or freeze it (requires_grad = False)"
        )
    trained = [p.grad for p in case.distiller.parameters() if p.requires_grad]
    assert not trained or _norm(trained) > 0, f"{_name(case)}: the gradient of all its own parameters is 0"


def _uses_the_output_as_stated(case: Case) -> None:
    if case.distiller.uses_output:
        return
    try:
        case.distiller.knowledge(Features(taps=leaves(case.teacher).taps), case.batch)
    except Exception as error:
        raise AssertionError(
            f"{_name(case)} states uses_output = False, but its knowledge fails without the output image: "
            f"{type(error).__name__}: {error}"
        ) from error


def _has_constant_knowledge(case: Case) -> None:
    knowledge = case.distiller.knowledge(leaves(case.teacher), case.batch)
    assert isinstance(knowledge, dict), f"{_name(case)}: knowledge is a dict of tensors, not {type(knowledge).__name__}"
    for name, tensor in knowledge.items():
        assert isinstance(tensor, Tensor), f"{_name(case)}: knowledge {name!r} is a {type(tensor).__name__}, no tensor"
        assert not tensor.requires_grad, f"{_name(case)}: knowledge {name!r} carries a gradient"
    if case.distiller.cacheable:
        _has_knowledge_by_sample(case, knowledge)


def _has_knowledge_by_sample(case: Case, knowledge: Knowledge) -> None:
    for name, tensor in knowledge.items():
        assert tensor.ndim > 0 and tensor.shape[0] == len(case.batch), (
            f"{_name(case)} is cacheable, but its knowledge {name!r} {list(tensor.shape)} has another first axis "
            f"than the batch of {len(case.batch)}"
        )
    for index in range(len(case.batch)):
        alone = case.distiller.knowledge(_part(case.teacher, index, index + 1), _only(case.batch, index))
        assert alone.keys() == knowledge.keys(), f"{_name(case)}: the names of its knowledge depend on the batch"
        for name, tensor in knowledge.items():
            assert torch.allclose(alone[name][0].float(), tensor[index].float(), rtol=1e-4, atol=1e-6), (
                f"{_name(case)} is cacheable, but its knowledge {name!r} about a sample depends on the batch mates"
            )


def _part(features: Features, start: int, stop: int) -> Features:
    return mapped(features, lambda tensor: tensor[start:stop])


def _only(batch: Batch, index: int) -> Batch:
    part = slice(index, index + 1)
    return Batch(
        batch.input[part], batch.target[part], {k: v[part] for k, v in batch.conditions.items()}, batch.keys[part]
    )


def _keeps_what_it_learnt_in_its_state(case: Case) -> None:
    fresh = case.factory()
    fresh.build(case.situation.shapes)
    fresh.load_state_dict(case.distiller.state_dict())
    before = case.run(case.teacher, case.student).value
    original, case.distiller = case.distiller, fresh
    try:
        after = case.run(case.teacher, case.student).value
    finally:
        case.distiller = original
    assert torch.equal(before, after), (
        f"{_name(case)}: the loss is {float(before):.6g}, and {float(after):.6g} after its state was loaded into a "
        "fresh one: what build and prepare make must live in parameters or buffers"
    )


def _computes_in_float32(case: Case) -> None:
    plain = case.run(case.teacher, case.student).value
    device = case.teacher.image().device.type
    with torch.autocast(device, dtype=torch.bfloat16):
        inside = case.run(case.teacher, case.student).value
        halved = case.run(mapped(case.teacher, Tensor.bfloat16), mapped(case.student, Tensor.bfloat16)).value
    for value in (inside, halved):
        assert value.dtype == torch.float32, f"{_name(case)}: the loss is {value.dtype} under autocast, not float32"
        assert torch.isfinite(value), f"{_name(case)}: the loss is not finite under bfloat16 autocast"
    assert torch.allclose(plain, inside, rtol=1e-5, atol=1e-8), (
        f"{_name(case)}: the loss is {float(plain):.7g}, and {float(inside):.7g} under bfloat16 autocast: turn "
        "autocast off inside knowledge and forward"
    )


def _does_not_relate_samples(case: Case) -> None:
    def with_other_mates(features: Features) -> Features:
        return mapped(features, lambda t: torch.cat([t[:1], t[1:].flip(0) * 1.7 + 0.1]))

    together = case.run(case.teacher, case.student)
    input, target = case.batch.input, case.batch.target
    mates = replace(
        case.batch, input=torch.cat([input[:1], input[1:] / 2]), target=torch.cat([target[:1], target[1:] / 2])
    )
    apart = case.run(with_other_mates(case.teacher), with_other_mates(case.student), mates)
    for before, after in zip([*together.taps, together.output], [*apart.taps, apart.output]):
        if before is None or after is None:
            continue
        scale = float(before[0].abs().max())
        assert torch.allclose(before[0], after[0], rtol=1e-3, atol=1e-4 * scale), (
            f"{_name(case)}: the gradient of a sample depends on its batch mates; declare relates_samples = True"
        )


def _does_not_depend_on_the_image_size(case: Case, way: str, tolerance: float) -> None:
    def larger(tensor: Tensor) -> Tensor:
        if way == "tile":
            return tensor.repeat(1, 1, 2, 2)
        return tensor.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)

    batch = replace(case.batch, input=larger(case.batch.input), target=larger(case.batch.target))
    small = case.run(case.teacher, case.student).value
    large = case.run(mapped(case.teacher, larger), mapped(case.student, larger), batch).value
    allowed = tolerance * max(abs(float(small)), 1e-6)
    assert abs(float(large) - float(small)) <= allowed, (
        f"{_name(case)}: the loss is {float(small):.6g}, and {float(large):.6g} for the same features made twice as "
        f"high and wide ({way}): it must not depend on the image size"
    )


def _takes_one_sample_or_refuses_it(factory: Callable[[], Distiller], situation: Situation) -> None:
    least = factory().least_batch
    case = Case(factory, replace(situation, batch=max(2, least)))
    for size in sorted({1, max(1, least - 1)}):
        teacher, student = _part(case.teacher, 0, size), _part(case.student, 0, size)
        batch = Batch(case.batch.input[:size], case.batch.target[:size], keys=case.batch.keys[:size])
        try:
            loss = case.run(teacher, student, batch)
        except UserError:
            continue
        except Exception as error:
            raise AssertionError(
                f"{_name(case)}: a batch of {size} ends in {type(error).__name__}: {error}; refuse it with UserError"
            ) from error
        assert size >= least, f"{_name(case)} declares least_batch = {least} but takes a batch of {size}"
        assert torch.isfinite(loss.value), f"{_name(case)}: the loss of a batch of {size} is not finite"


def _takes_unequal_sizes_or_refuses_them(factory: Callable[[], Distiller], situation: Situation) -> None:
    height, width = situation.sizes[0]
    for other in ((height // 2, width // 2), (height * 2, width * 2), (height + 3, width - 1)):
        try:
            case = Case(factory, replace(situation, sizes=((height, width), other)))
            case.student.output = case.teacher.image() * 0.9
            loss = case.run(case.teacher, case.student)
        except UserError:
            continue
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(
                f"{factory().__class__.__name__}: a student whose taps are {other} where the teacher's are "
                f"{(height, width)} ends in {type(error).__name__}: {error}; resize them, or refuse with UserError"
            ) from error
        assert torch.isfinite(loss.value), f"{_name(case)}: the loss of taps of unequal size is not finite"


def _allocates_little(case: Case, ratio: float) -> None:
    student = leaves(case.student)
    height, width = case.situation.sizes[0]
    one_map = 4 * case.situation.batch * 32 * height * width
    own = [
        *case.teacher.taps,
        *student.taps,
        case.teacher.image(),
        student.image(),
        case.batch.input,
        case.batch.target,
    ]
    with StorageMeter(excluded=[*own, *case.distiller.parameters(), *case.distiller.buffers()]) as memory:
        knowledge = case.distiller.knowledge(case.teacher, case.batch)
        case.backward(student, knowledge, case.batch)
    maps = memory.peak / one_map / case.situation.pairs
    assert maps <= ratio + 0.1, (
        f"{_name(case)} allocates {maps:.2f} feature maps a pair at its peak, beyond the features themselves; "
        f"at most {ratio} are allowed"
    )
