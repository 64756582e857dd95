"""A component: how its target is imported, what it receives, and how a failure is reported."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import i2ikd
from i2ikd.component import Component, Plugin, import_target
from i2ikd.errors import UserError
from i2ikd.registry import CORE_KINDS, Registry


def offering(name: str, target: Any) -> ModuleType:
    """A plugin module that registers one model."""

    def register_models(register: Any) -> None:
        register(name, target)

    module = ModuleType("a_plugin")
    module.register_models = i2ikd.hookimpl(register_models)  # type: ignore[attr-defined]
    return module


def plugin(module: Any, name: str = "lab") -> Plugin:
    return Plugin(name, "lab-networks", "1.2", module)


def make_network(width: int = 4) -> SimpleNamespace:
    return SimpleNamespace(width=width)


class TestATargetThatFails:
    @pytest.mark.parametrize(
        ("target", "reason"),
        [
            ("no_such_package.networks:Net", "ModuleNotFoundError: No module named 'no_such_package'"),
            ("fractions:Fractoin", "AttributeError: module 'fractions' has no attribute 'Fractoin'"),
            ("sys:maxsize", "expected 'sys:maxsize' to be a class or function, got a int"),
        ],
    )
    def test_to_load_names_its_plugin(self, target: str, reason: str) -> None:
        registry = Registry([plugin(offering("net", target))])
        with pytest.raises(UserError) as caught:
            registry.create("model", "net")
        assert str(caught.value).startswith("model 'net' of the plugin lab (lab-networks 1.2)")
        assert reason in str(caught.value)

    def test_to_start_names_its_plugin_in_one_line(self) -> None:
        def factory() -> None:
            raise ZeroDivisionError("no\nwidth")

        with pytest.raises(UserError, match=r"lab-networks 1\.2\) failed to start: ZeroDivisionError: no width$"):
            Registry([plugin(offering("net", factory))]).create("model", "net")

    def test_keeps_the_words_of_a_user_error(self) -> None:
        def factory() -> None:
            raise UserError("kernel = 4 is even")

        with pytest.raises(UserError, match=r"^kernel = 4 is even$"):
            Registry([plugin(offering("net", factory))]).create("model", "net")


def test_a_target_may_be_nested() -> None:
    assert import_target("collections:OrderedDict.fromkeys")("ab") == {"a": None, "b": None}


def test_a_component_does_not_print_its_whole_plugin() -> None:
    assert "plugin=" not in repr(Component("model", "net", dict, Plugin("lab")))


class TestAComponentThatIsNotRegistered:
    @pytest.mark.parametrize("kind", [kind.name for kind in CORE_KINDS])
    def test_is_imported_for_every_kind(self, kind: str) -> None:
        component = Registry().get(kind, "import:collections:OrderedDict.fromkeys")
        assert component.resolve()("ab") == {"a": None, "b": None}
        assert (component.kind, component.plugin.label) == (kind, "imported")

    def test_has_a_module_and_a_name(self) -> None:
        with pytest.raises(UserError, match=r"model 'import:collections': expected import:package\.module:Name"):
            Registry().get("model", "import:collections")

    def test_belongs_to_a_kind_that_exists(self) -> None:
        with pytest.raises(UserError, match="no kind of component 'modle'; did you mean 'model'"):
            Registry().get("modle", "import:collections:OrderedDict")


class TestTheArgumentRegistry:
    def test_receives_the_registry_that_creates_the_component(self) -> None:
        def factory(registry: Registry, inner: str = "net") -> Any:
            return registry, registry.create("model", inner)

        registry = Registry([plugin(offering("net", make_network)), plugin(offering("outer", factory), "other")])
        found, inner = registry.create("model", "outer")
        assert found is registry
        assert inner.width == 4

    def test_is_no_option(self) -> None:
        def factory(registry: Registry, width: int = 1) -> int:
            return width

        registry = Registry([plugin(offering("net", factory))])
        assert registry.create("model", "net", {"width": 3}) == 3
        with pytest.raises(UserError, match=r"unknown option 'registry'; known: width$"):
            registry.create("model", "net", {"registry": "mine"})
