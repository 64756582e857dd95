"""The registry: isolation of broken plugins, look-up by name, provenance of components, kinds of plugins."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import i2ikd
from i2ikd.component import Plugin
from i2ikd.errors import UserError
from i2ikd.registry import CORE_KINDS, Registry


def module_of(*functions: Callable[..., Any]) -> ModuleType:
    """A plugin module that implements the hooks its functions are named after."""
    module = ModuleType("a_plugin")
    for function in functions:
        setattr(module, function.__name__, i2ikd.hookimpl(function))
    return module


def offering(name: str, target: Any, hook: str = "register_models", **metadata: str) -> ModuleType:
    def implementation(register: Any) -> None:
        register(name, target, **metadata)

    implementation.__name__ = hook
    return module_of(implementation)


def plugin(module: Any, name: str = "lab", distribution: str = "lab-networks", version: str = "1.2") -> Plugin:
    return Plugin(name, distribution, version, module)


def make_network(width: int = 4) -> SimpleNamespace:
    return SimpleNamespace(width=width)


class TestAPluginThatWorks:
    def test_its_components_are_built_with_checked_options(self) -> None:
        registry = Registry([plugin(offering("net", make_network))])
        assert registry.create("model", "net", {"width": 7}).width == 7
        with pytest.raises(UserError, match=r"^teacher: unknown option 'widht'; did you mean 'width'"):
            registry.create("model", "net", {"widht": 7}, where="teacher")

    def test_a_component_knows_where_it_came_from(self) -> None:
        registry = Registry([plugin(offering("net", make_network, summary="a network", paper="arXiv:1"))])
        component = registry.get("model", "net")
        assert (component.kind, component.name, component.summary) == ("model", "net", "a network")
        assert component.metadata == {"paper": "arXiv:1"}
        assert component.plugin.label == "lab (lab-networks 1.2)"
        assert component.plugin.provides == [component]
        with pytest.raises(TypeError):
            component.metadata["paper"] = "another"  # type: ignore[index]

    def test_a_text_target_is_imported_on_first_use_only(self) -> None:
        registry = Registry([plugin(offering("net", "fractions:Fraction.from_float"))])
        assert registry.get("model", "net").resolve()(0.25).denominator == 4

    def test_components_are_listed_by_name_whatever_the_order_of_plugins(self) -> None:
        registry = Registry([plugin(offering("b", dict), "second"), plugin(offering("a", dict), "first")])
        assert [component.name for component in registry.components("model")] == ["a", "b"]
        assert registry.components("task") == []

    def test_a_hook_may_leave_its_argument_out(self) -> None:
        def run_started() -> None:
            received.append("started")

        received: list[str] = []
        Registry([plugin(module_of(run_started))]).notify("run_started", object())
        assert received == ["started"]


def raising(register: Any) -> None:
    register("half", dict)
    raise RuntimeError("first line\nsecond line")


def leaving(register: Any) -> None:
    raise SystemExit("not on this machine")


def named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def implementation(register: Any) -> Any:
        return function(register)

    implementation.__name__ = name
    return implementation


def twice(register: Any) -> None:
    register("net", dict)
    register("net", dict)


def breaking(hook: str, function: Callable[..., Any]) -> ModuleType:
    return module_of(named(function, hook))


def with_a_wrong_signature() -> ModuleType:
    def register_models(register: Any, context: Any) -> None: ...

    return module_of(register_models)


def with_a_hook_wrapper() -> ModuleType:
    def register_models(register: Any) -> Any:
        yield

    module = ModuleType("a_plugin")
    module.register_models = i2ikd.hookimpl(wrapper=True)(register_models)  # type: ignore[attr-defined]
    return module


BROKEN = {
    "wrong signature": (with_a_wrong_signature, "context"),
    "hook wrapper": (with_a_hook_wrapper, "register_models is a hook wrapper"),
    "misspelt hook": (
        lambda: breaking("register_modles", leaving),
        "there is no hook 'register_modles'; did you mean 'register_models'?",
    ),
    "raises": (lambda: breaking("register_models", raising), "RuntimeError: first line second line"),
    "leaves": (lambda: breaking("register_models", leaving), "SystemExit: not on this machine"),
    "registers twice": (lambda: breaking("register_models", twice), "registered twice"),
    "empty name": (lambda: offering("", dict), "a name is not empty"),
    "qualified name": (lambda: offering("a:b", dict), "has no ':'"),
    "no target": (lambda: offering("net", 3), "callable or 'package.module:attribute'"),
    "no attribute": (lambda: offering("net", "package.module"), "callable or 'package.module:attribute'"),
}


class TestABrokenPlugin:
    @pytest.mark.parametrize("case", BROKEN)
    def test_costs_one_line_and_nothing_else(self, case: str, capsys: pytest.CaptureFixture[str]) -> None:
        make, reason = BROKEN[case]
        broken = plugin(make(), "broken", "bad-luck", "0.1")
        registry = Registry([plugin(offering("a", dict), "before"), broken, plugin(offering("z", dict), "after")])
        output = capsys.readouterr()
        assert output.out == ""
        assert len(output.err.splitlines()) == 1
        assert output.err.startswith("i2ikd: the plugin broken (bad-luck 0.1) is broken and not used: ")
        assert reason in output.err
        assert reason in broken.problem
        assert broken.provides == []
        assert [component.name for component in registry.components("model")] == ["a", "z"]

    def test_is_named_by_a_later_unknown_name(self) -> None:
        registry = Registry(
            [plugin(offering("unet", dict)), plugin(BROKEN["raises"][0](), "broken", "bad-luck", "0.1")]
        )
        with pytest.raises(UserError) as caught:
            registry.get("model", "unett")
        assert str(caught.value) == "unknown model 'unett'; did you mean 'unet'?"
        (detail,) = caught.value.details
        assert detail == "the plugin broken (bad-luck 0.1) is not in use: RuntimeError: first line second line"

    def test_receives_no_life_cycle_hooks(self) -> None:
        def run_started(context: Any) -> None:
            received.append(context)

        received: list[str] = []
        registry = Registry([plugin(module_of(run_started, named(raising, "register_models")))])
        registry.notify("run_started", "run")
        assert received == []

    @pytest.mark.parametrize("case", BROKEN)
    def test_raises_when_strict(self, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("I2IKD_STRICT_PLUGINS", "1")
        with pytest.raises((Exception, SystemExit)) as caught:
            Registry([plugin(BROKEN[case][0]())])
        reason = BROKEN[case][1].removeprefix("RuntimeError: ").removeprefix("SystemExit: ")
        assert reason in " ".join(str(caught.value).split())

    def test_does_not_take_down_the_plugin_whose_module_it_names_again(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def run_started(context: Any) -> None:
            received.append(context)

        received: list[str] = []
        module = module_of(run_started, named(lambda register: register("net", dict), "register_models"))
        registry = Registry([plugin(module, "first"), plugin(module, "again")])
        registry.notify("run_started", "run")
        assert received == ["run"]
        assert registry.get("model", "net").plugin.name == "first"
        assert "already in use as the plugin first (lab-networks 1.2)" in capsys.readouterr().err


class TestALifeCycleHookThatRaises:
    def hosts(self, received: list[str]) -> Registry:
        def broken(context: Any) -> None:
            raise ValueError("disk\nfull")

        def working(context: Any) -> None:
            received.append(context)

        modules = {}
        for name, function in {"before": working, "broken": broken, "after": working}.items():
            function_of_its_own = lambda context, call=function: call(context)  # noqa: E731
            modules[name] = ModuleType(name)
            modules[name].epoch_ended = i2ikd.hookimpl(function_of_its_own)  # type: ignore[attr-defined]
        return Registry([plugin(module, name) for name, module in modules.items()])

    def test_costs_a_line_and_stops_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        received: list[str] = []
        self.hosts(received).notify("epoch_ended", "epoch 3")
        assert received == ["epoch 3", "epoch 3"]
        assert capsys.readouterr().err == (
            "i2ikd: epoch_ended of the plugin broken (lab-networks 1.2) failed: ValueError: disk full\n"
        )

    def test_raises_when_strict(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("I2IKD_STRICT_PLUGINS", "1")
        received: list[str] = []
        with pytest.raises(ValueError, match="disk"):
            self.hosts(received).notify("epoch_ended", "epoch 3")


class TestLookUp:
    def two_of_a_name(self) -> Registry:
        return Registry(
            [
                plugin(offering("net", lambda: "ours"), "main", "lab-networks"),
                plugin(offering("net", lambda: "theirs"), "main", "other-networks"),
                plugin(offering("net", lambda: "theirs too"), "extra", "third-networks"),
            ]
        )

    def test_a_name_that_several_plugins_offer_must_be_qualified(self) -> None:
        with pytest.raises(UserError) as caught:
            self.two_of_a_name().get("model", "net")
        message = str(caught.value)
        assert "by extra (third-networks 1.2) and main (lab-networks 1.2) and main (other-networks" in message
        assert "write 'third-networks:net' or 'lab-networks:net' or 'other-networks:net'" in message

    @pytest.mark.parametrize(
        ("name", "made"),
        [
            ("lab-networks:net", "ours"),
            ("other-networks:net", "theirs"),
            ("third-networks:net", "theirs too"),
            ("extra:net", "theirs too"),
        ],
    )
    def test_a_qualified_name_finds_its_component(self, name: str, made: str) -> None:
        assert self.two_of_a_name().create("model", name) == made

    def test_plugins_of_one_distribution_are_distinguished_by_their_own_names(self) -> None:
        registry = Registry([plugin(offering("net", dict), "left"), plugin(offering("net", dict), "right")])
        with pytest.raises(UserError, match="write 'left:net' or 'right:net'"):
            registry.get("model", "net")
        assert registry.get("model", "right:net").plugin.name == "right"

    def test_a_name_belongs_to_its_kind(self) -> None:
        registry = Registry([plugin(offering("net", dict)), plugin(offering("net", dict, "register_tasks"), "tasks")])
        assert registry.get("task", "net").plugin.name == "tasks"

    def test_an_unknown_name_gets_the_nearest_or_all_that_there_are(self) -> None:
        registry = Registry([plugin(offering("attention", dict, "register_distillers"))])
        with pytest.raises(UserError, match=r"^unknown distiller 'atention'; did you mean 'attention'"):
            registry.get("distiller", "atention")
        with pytest.raises(UserError, match=r"^unknown distiller 'xyz'; known: attention$"):
            registry.get("distiller", "xyz")
        with pytest.raises(UserError, match=r"^unknown metric 'psnr'; there are none$"):
            registry.get("metric", "psnr")
        with pytest.raises(UserError, match=r"^unknown distiller 'elsewhere:attention'"):
            registry.get("distiller", "elsewhere:attention")

    def test_an_unknown_kind_gets_the_nearest(self) -> None:
        with pytest.raises(UserError, match="no kind of component 'distilller'; did you mean 'distiller'"):
            Registry().components("distilller")

    def test_every_kind_has_its_registration_hook(self) -> None:
        for kind in CORE_KINDS:
            hook = "register_pairs" if kind.name == "pairs" else f"register_{kind.name}s"
            assert Registry([plugin(offering("it", dict, hook))]).get(kind.name, "it").kind == kind.name


def test_a_component_is_found_by_the_public_names() -> None:
    assert i2ikd.get("model", "plain-cnn").__name__ == "PlainCNN"
    assert len(i2ikd.create("model", "plain-cnn", depth=2).layers) == 2
    with pytest.raises(UserError, match="did you mean 'depth'"):
        i2ikd.create("model", "plain-cnn", dept=2)
    with pytest.raises(AttributeError, match="no attribute 'gett'"):
        i2ikd.gett  # noqa: B018


def defining(*kinds: tuple[str, ...], fails: bool = False) -> ModuleType:
    def register_kinds(register_kind: Any) -> None:
        for kind in kinds:
            register_kind(*kind)
        if fails:
            raise RuntimeError("no kinds today")

    return module_of(register_kinds)


class TestKindsOfPlugins:
    def test_any_plugin_registers_components_of_it_whatever_the_order(self) -> None:
        user = plugin(offering("half", make_network, "register_masks"), "a-user")
        definer = plugin(defining(("mask", "masks"), ("noise",)), "the-definer")
        for plugins in ([user, definer], [definer, user]):
            registry = Registry(Plugin(p.name, p.distribution, p.version, p.module) for p in plugins)
            assert registry.create("mask", "half", {"width": 2}).width == 2
            assert [p.problem for p in registry.plugins] == ["", ""]
            assert list(registry.kinds)[-2:] == ["mask", "noise"]
            assert registry.components("noise") == []

    def test_a_later_plugin_can_use_it(self) -> None:
        registry = Registry([plugin(defining(("mask",)), "definer")])
        registry.add(plugin(offering("half", dict, "register_masks"), "user"))
        assert registry.get("mask", "half").plugin.name == "user"

    def test_without_the_plugin_that_defines_it_there_is_no_such_hook(self, capsys: pytest.CaptureFixture[str]) -> None:
        registry = Registry([plugin(offering("half", dict, "register_masks"))])
        assert "there is no hook 'register_masks'" in capsys.readouterr().err
        with pytest.raises(UserError, match="no kind of component 'mask'"):
            registry.components("mask")

    def test_a_wrong_signature_costs_the_plugin_that_has_it_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        def register_masks(register: Any, context: Any) -> None: ...

        broken, definer = plugin(module_of(register_masks), "a-broken"), plugin(defining(("mask",)), "definer")
        sound = plugin(offering("half", dict, "register_masks"), "sound")
        registry = Registry([broken, definer, sound])
        assert "context" in broken.problem
        assert (definer.problem, sound.problem) == ("", "")
        assert [component.name for component in registry.components("mask")] == ["half"]
        assert len(capsys.readouterr().err.splitlines()) == 1

    @pytest.mark.parametrize(
        ("module", "reason"),
        [
            (defining(("mask",), fails=True), "RuntimeError: no kinds today"),
            (defining(("mask",), ("model", "networks")), "a kind of this name or with the hook 'register_networks'"),
            (defining(("mask",), ("network", "models")), "with the hook 'register_models' exists"),
            (defining(("mask",), ("mask", "others")), "kind 'mask': a kind of this name"),
            (defining(("mask",), ("coil-map",)), "kind 'coil-map': expected lower-case identifiers"),
            (defining(("mask",), ("Map",)), "kind 'Map': expected lower-case identifiers"),
        ],
    )
    def test_a_plugin_that_cannot_define_its_kinds_leaves_none(
        self, module: ModuleType, reason: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        broken = plugin(module)
        registry = Registry([broken])
        assert reason in broken.problem
        assert list(registry.kinds) == [kind.name for kind in CORE_KINDS]
        assert "is broken and not used" in capsys.readouterr().err

    def test_it_stays_when_its_plugin_fails_later_as_others_have_components_of_it(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        module = defining(("mask",))
        module.register_models = i2ikd.hookimpl(named(raising, "register_models"))  # type: ignore[attr-defined]
        registry = Registry([plugin(module, "failing"), plugin(offering("half", dict, "register_masks"), "user")])
        assert registry.get("mask", "half").plugin.name == "user"
        with pytest.raises(UserError, match="unknown mask 'full'") as caught:
            registry.get("mask", "full")
        assert caught.value.details[0].startswith("the plugin failing")
        assert "failing" in capsys.readouterr().err

    def test_the_hook_of_an_unknown_kind_is_called_once(self) -> None:
        def register_masks(register: Any) -> None:
            calls.append("masks")
            register("half", dict)

        calls: list[str] = []
        module = defining(("mask",))
        module.register_masks = i2ikd.hookimpl(register_masks)  # type: ignore[attr-defined]
        registry = Registry([plugin(module), plugin(defining(("noise",)), "other")])
        registry.add(plugin(offering("net", dict), "late"))
        assert calls == ["masks"]
