"""Stages that take a share of the epochs: the shares of a recipe add up to the whole budget."""

from __future__ import annotations

import pytest

from i2ikd import UserError
from i2ikd.config import Training
from i2ikd.engine.plan import plan_stages
from i2ikd.recipe import Stage


def epochs(total: int, *shares: float | None, fixed: int | None = None) -> list[int]:
    stages = [
        Stage(name=f"s{index}", objective="any", share=share, epochs=fixed if share is None else None)
        for index, share in enumerate(shares)
    ]
    return [planned.epochs for planned in plan_stages(stages, Training(epochs=total), "arm 'x'")]


@pytest.mark.parametrize("shares", [(0.3, 0.7), (0.5, 0.5), (0.25, 0.25, 0.5), (1.0,), (0.1,) * 10, (1 / 3,) * 3])
@pytest.mark.parametrize("total", [10, 11, 17, 60, 149])
def test_shares_that_add_up_to_1_add_up_to_the_epochs(shares: tuple[float, ...], total: int) -> None:
    found = epochs(total, *shares)
    assert sum(found) == total
    assert all(abs(count - share * total) <= 1 for count, share in zip(found, shares))


def test_30_percent_of_10_epochs_are_3() -> None:
    assert epochs(10, 0.3, 0.7) == [3, 7]
    assert epochs(2, 0.3, 0.7) == [1, 1]


def test_shares_that_add_up_to_less_leave_epochs_out() -> None:
    assert epochs(10, 0.2, 0.3) == [2, 3]


def test_other_stages_keep_their_epochs() -> None:
    assert epochs(10, 0.3, None, 0.7, fixed=4) == [3, 4, 7]
    assert epochs(10, 0.3, None, 0.7) == [3, 10, 7]


def test_a_share_of_less_than_one_epoch_is_refused() -> None:
    with pytest.raises(UserError, match=r"arm 'x', stage 's0': expected at least one epoch, got share = 0.3 of .* = 1"):
        epochs(1, 0.3, 0.7)


def test_a_stage_that_is_left_out_takes_no_share() -> None:
    terms = [{"distiller": "target", "weight": 0}]
    stages = [
        Stage.model_validate({"name": "silent", "terms": terms, "share": 0.3}),
        Stage(name="target", objective="any", share=0.7),
    ]
    (planned,) = plan_stages(stages, Training(epochs=10), "arm 'x'")
    assert (planned.stage.name, planned.epochs) == ("target", 7)
