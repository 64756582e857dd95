"""Kinds that plugins define, and one registry for nested components."""

from __future__ import annotations

import sys
from fractions import Fraction
from types import ModuleType
from typing import Any

import pytest

import i2ikd
from i2ikd import UserError
from i2ikd.component import Plugin
from i2ikd.registry import Registry, default_registry


class Owner:
    """A plugin that defines a kind and registers a component of it."""

    @i2ikd.hookimpl
    def register_kinds(self, register_kind: Any) -> None:
        register_kind("filter", summary="a filter of images: called with one")
        register_kind("coil_map", "coil_maps")

    @i2ikd.hookimpl
    def register_filters(self, register: Any) -> None:
        register("double", Scale, summary="twice the image", unit="1")


class Guest:
    """A plugin of others, for a kind of the owner."""

    @i2ikd.hookimpl
    def register_filters(self, register: Any) -> None:
        register("chain", Chain)
        register("triple", "builtins:int")


class Scale:
    def __init__(self, factor: float = 2.0) -> None:
        self.factor = factor

    def __call__(self, value: float) -> float:
        return self.factor * value


class Chain:
    """Filters one after the other, made by the registry that made the chain."""

    def __init__(self, filters: list[dict[str, Any]], registry: Registry) -> None:
        self.registry = registry
        self.filters = [
            registry.create("filter", f["name"], {key: value for key, value in f.items() if key != "name"})
            for f in filters
        ]

    def __call__(self, value: float) -> float:
        for one in self.filters:
            value = one(value)
        return value


def registry(*modules: object) -> Registry:
    return Registry(Plugin(type(module).__name__.lower(), module=module) for module in modules)


@pytest.mark.parametrize("order", [(Owner, Guest), (Guest, Owner)], ids=["owner first", "guest first"])
def test_a_kind_of_a_plugin_is_open_to_all_in_any_order(order: Any) -> None:
    made = registry(*(plugin() for plugin in order))
    assert [plugin.problem for plugin in made.plugins] == ["", ""]
    assert [component.name for component in made.components("filter")] == ["chain", "double", "triple"]
    assert made.get("filter", "double").plugin.name == "owner"
    assert made.get("filter", "double").metadata == {"unit": "1"}
    assert made.create("filter", "double", {"factor": 3.0})(2) == 6
    assert made.kinds["coil_map"].hook == "register_coil_maps" and made.components("coil_map") == []


def test_without_its_owner_a_kind_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    made = registry(Guest())
    assert "there is no hook 'register_filters'" in made.plugins[0].problem
    assert "the plugin guest is broken and not used" in capsys.readouterr().err
    with pytest.raises(UserError, match="there is no kind of component 'filter'"):
        made.components("filter")


def test_a_kind_belongs_to_its_registry() -> None:
    registry(Owner())
    assert "filter" not in registry().kinds and "filter" not in default_registry().kinds


@pytest.mark.parametrize(("name", "plural"), [("model", ""), ("odd", "models"), ("two words", ""), ("filter", "")])
def test_a_kind_that_exists_or_cannot_be_a_hook_is_refused(
    name: str, plural: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Second:
        @i2ikd.hookimpl
        def register_kinds(self, register_kind: Any) -> None:
            register_kind(name, plural)

    made = registry(Owner(), Second())
    problems = {plugin.name: plugin.problem for plugin in made.plugins}
    assert problems["owner"] == "" and f"kind {name!r}: " in problems["second"]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_nested_components_are_made_by_the_same_registry() -> None:
    made = registry(Owner(), Guest())
    options = {"filters": [{"name": "double"}, {"name": "chain", "filters": [{"name": "double", "factor": 5.0}]}]}
    chain = made.create("filter", "chain", options)
    assert chain(1.5) == 1.5 * 2 * 5
    assert chain.registry is made and chain.filters[1].registry is made


def test_the_registry_is_no_option() -> None:
    made = registry(Owner(), Guest())
    with pytest.raises(UserError, match="unknown option 'registry'"):
        made.create("filter", "chain", {"filters": [], "registry": None})


class TestImports:
    @pytest.mark.parametrize("kind", ["filter", "model", "distiller", "objective", "transform", "metric", "tracker"])
    def test_every_kind_takes_a_path(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        module = ModuleType("own_fractions")
        vars(module)["Fraction"] = Fraction
        monkeypatch.setitem(sys.modules, module.__name__, module)
        made = registry(Owner()).create(kind, "import:own_fractions:Fraction.from_float", {"f": 0.75})
        assert (made.numerator, made.denominator) == (3, 4)

    def test_messages_name_the_place_and_no_plugin(self) -> None:
        with pytest.raises(UserError) as caught:
            registry(Owner()).create("filter", "import:no_such_module:Name", where="filter of the task")
        assert str(caught.value).startswith(
            "filter of the task: cannot import 'no_such_module:Name': ModuleNotFoundError"
        )

    def test_without_a_name_in_the_module_it_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"filter 'import:own_fractions': expected import:package\.module:Name"):
            registry(Owner()).get("filter", "import:own_fractions")
