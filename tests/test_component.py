"""A component: how its target is imported, what it receives, and how a failure is reported."""

from __future__ import annotations

import sys
import types
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import i2ikd
from i2ikd.component import Component, Plugin
from i2ikd.errors import UserError
from i2ikd.imported import import_target
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


class Parts:
    @classmethod
    def keys(cls, names: str) -> Any:
        return dict.fromkeys(names)


def integer() -> int:
    raise AssertionError("it was called")


OWN = "own_parts"


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user with a factory, a class that makes no component, and values of other types."""
    module = types.ModuleType(OWN)
    vars(module).update(Parts=Parts, integer=integer, number=3, module=types, keys=partial(Parts.keys, "ab"))
    monkeypatch.setitem(sys.modules, OWN, module)


@pytest.mark.usefixtures("own_module")
class TestAComponentThatIsNotRegistered:
    @pytest.mark.parametrize("kind", [kind.name for kind in CORE_KINDS])
    def test_is_imported_for_every_kind(self, kind: str) -> None:
        component = Registry().get(kind, f"import:{OWN}:Parts.keys")
        assert component.resolve()("ab") == {"a": None, "b": None}
        assert (component.kind, component.plugin.label) == (kind, "imported")

    def test_is_a_function_with_some_arguments_set(self) -> None:
        assert Registry().create("pairs", f"import:{OWN}:keys") == {"a": None, "b": None}

    @pytest.mark.parametrize("kind", [kind.name for kind in CORE_KINDS])
    @pytest.mark.parametrize("target", ["os:system", "builtins:exit", "os:path", "subprocess:run", "runpy:run_path"])
    def test_is_no_part_of_python(self, kind: str, target: str) -> None:
        with pytest.raises(UserError, match=rf"^{kind} 'import:{target}': expected a module with components of i2ikd"):
            Registry().create(kind, f"import:{target}")

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("number", "expected a class or function written in Python, got a int"),
            ("module", "expected a class or function written in Python, got a module"),
            ("Parts", r"that makes a torch\.nn\.Module, got one that makes a Parts"),
            ("integer", r"that makes a torch\.nn\.Module, got one that makes a int"),
        ],
    )
    def test_makes_what_its_kind_is(self, name: str, message: str) -> None:
        with pytest.raises(UserError, match=message):
            Registry().create("model", f"import:{OWN}:{name}")

    def test_has_a_module_and_a_name(self) -> None:
        with pytest.raises(UserError, match=r"model 'import:own_parts': expected import:package\.module:Name"):
            Registry().get("model", "import:own_parts")

    def test_belongs_to_a_kind_that_exists(self) -> None:
        with pytest.raises(UserError, match="no kind of component 'modle'; did you mean 'model'"):
            Registry().get("modle", "import:own_parts:Parts")


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
