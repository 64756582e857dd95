"""Natural sort order of file names and module paths."""

from __future__ import annotations

from torch import nn

from i2ikd.natural_order import natural_key
from i2ikd.taps import expand


def test_numbers_compare_by_value_and_case_is_ignored() -> None:
    assert sorted(["b2", "b10", "a", "B1"], key=natural_key) == ["a", "B1", "b2", "b10"]


def test_a_prefix_precedes_longer_names_and_equal_numbers_compare_as_text() -> None:
    assert sorted(["s1-b", "s2", "s1", "s001", "s"], key=natural_key) == ["s", "s001", "s1", "s1-b", "s2"]


def test_tap_paths_are_in_natural_order_within_and_between_components() -> None:
    network = nn.ModuleDict({f"block{i}": nn.ModuleList(nn.Identity() for _ in range(11)) for i in (10, 9, 1)})
    assert expand(network, "block*.10") == ["block1.10", "block9.10", "block10.10"]
    assert expand(network, "block9.*") == [f"block9.{i}" for i in range(11)]
