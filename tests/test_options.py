"""Validation of options against typed arguments: accepted values, conversion, error messages."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from i2ikd.errors import UserError
from i2ikd.options import check, parameters

if TYPE_CHECKING:
    from pathlib import Path as Unimported


class Crop(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rows: Annotated[int, Field(ge=1)]
    columns: int = 8


class Source(BaseModel):
    model_config = ConfigDict(extra="forbid")
    root: str
    crop: Crop | None = None
    crops: list[Crop] = []


class Network(nn.Module):
    def __init__(
        self,
        source: Source | None = None,
        depth: Annotated[int, Field(ge=1, le=9)] = 5,
        mode: Literal["paper", "code"] = "paper",
        alpha: float = 0.5,
        widths: tuple[int, ...] = (),
    ) -> None:
        super().__init__()


def network_of(depth: int, width: int = 4) -> tuple[int, int]:
    return depth, width


@dataclass
class Mask:
    acceleration: float
    lines: int = 3


class Unnamed(nn.Module):
    """Network without options, which inherits ``**kwargs`` from torch."""


class Callable4:
    def __call__(self, depth: int = 4) -> int:
        return depth


def of_unknown_type(path: Unimported | None = None) -> None: ...


class TestAccepted:
    def test_given_values_are_converted_and_defaults_are_not_added(self) -> None:
        given = {"depth": 3, "mode": "code", "widths": [4, 2], "alpha": 1}
        assert check(Network, given, "student") == {"depth": 3, "mode": "code", "alpha": 1.0, "widths": (4, 2)}
        assert check(Network, {}, "student") == {}

    def test_a_nested_table_is_converted_to_its_model(self) -> None:
        checked = check(Network, {"source": {"root": "data", "crop": {"rows": 3}}}, "task")
        assert checked["source"] == Source(root="data", crop=Crop(rows=3, columns=8))

    def test_functions_dataclasses_partials_and_callable_objects_are_supported(self) -> None:
        assert check(network_of, {"depth": "3"}, "x") == {"depth": 3}
        assert check(Mask, {"acceleration": 4}, "x") == {"acceleration": 4.0}
        assert check(functools.partial(network_of, 2), {"width": 9}, "x") == {"width": 9}
        assert check(Callable4(), {"depth": 2}, "x") == {"depth": 2}

    def test_further_options_are_passed_to_a_target_with_keyword_arguments(self) -> None:
        def open_target(root: str, **others: Any) -> None: ...

        assert check(open_target, {"root": "r", "extra": [1]}, "x") == {"root": "r", "extra": [1]}

    def test_parameters_are_the_named_arguments(self) -> None:
        assert list(parameters(Network)) == ["source", "depth", "mode", "alpha", "widths"]
        assert list(parameters(Mask)) == ["acceleration", "lines"]
        assert list(parameters(Unnamed)) == []


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"depth": "many"}, "depth = 'many': should be a valid integer"),
            ({"depth": 2.5}, "depth = 2.5: should be a valid integer"),
            ({"depth": 0}, "depth = 0: should be greater than or equal to 1"),
            ({"depth": 10}, "depth = 10: should be less than or equal to 9"),
            ({"mode": "papr"}, "mode = 'papr': should be 'paper' or 'code'"),
            ({"alpha": None}, "alpha = None: should be a valid number"),
            ({"widths": [4, "x"]}, r"widths\.1 = 'x': should be a valid integer"),
            ({"dept": 3}, r"unknown option 'dept'; did you mean 'depth'\?"),
            ({"zzzz": 3}, "unknown option 'zzzz'; known: alpha, depth, mode, source, widths"),
            ({"source": {}}, r"the option 'source\.root' is missing"),
            ({"source": {"rot": "data", "root": "d"}}, r"unknown option 'source\.rot'; did you mean 'root'\?"),
            (
                {"source": {"root": "d", "crop": {"rows": 2, "colums": 3}}},
                r"unknown option 'source\.crop\.colums'; did you mean 'columns'\?",
            ),
            (
                {"source": {"root": "d", "crops": [{"rows": 2}, {"rows": 1, "colums": 3}]}},
                r"unknown option 'source\.crops\.1\.colums'; did you mean 'columns'\?",
            ),
            ({"source": {"root": "d", "crop": {"rows": 0}}}, r"source\.crop\.rows = 0: should be greater"),
            ({"source": 3}, "source = 3: should be a valid"),
        ],
    )
    def test_an_invalid_option_is_reported_in_one_line_with_its_location(
        self, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UserError, match=f"^student: {message}") as caught:
            check(Network, options, "student")
        assert "\n" not in str(caught.value)

    def test_a_missing_option_is_reported(self) -> None:
        with pytest.raises(UserError, match=r"^mask: the option 'acceleration' is missing$"):
            check(Mask, {"lines": 4}, "mask")

    def test_any_option_is_unknown_to_a_target_without_options(self) -> None:
        with pytest.raises(UserError, match=r"^distiller: unknown option 'weight'; there are none$"):
            check(Unnamed, {"weight": 2}, "distiller")

    def test_internal_field_names_are_not_accepted_as_options(self) -> None:
        with pytest.raises(UserError, match="unknown option 'option_1'"):
            check(Network, {"option_1": 3}, "student")

    def test_unresolvable_type_hints_are_reported(self) -> None:
        with pytest.raises(
            UserError, match=r"^reader: cannot resolve the type hints: .*Unimported.*; import the missing name$"
        ):
            check(of_unknown_type, {}, "reader")
