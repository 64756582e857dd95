"""Every hook has a page in docs, and the example on that page works: one test a hook, and a walk over all of them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from i2ikd_mri.coils.maps import unexplained_energy
from torch import nn

from i2ikd import (
    Batch,
    ExportRequest,
    Features,
    ObjectiveContext,
    SampleKey,
    Stage,
    TapShapes,
    Teacher,
    UserError,
    hookspecs,
)
from i2ikd.builtin.models.plain import PlainCNN
from i2ikd.component import Component
from i2ikd.export_form import form_of, stand_in
from i2ikd.registry import CORE_KINDS, Registry, default_registry
from i2ikd.taps import resolve_pairs
from i2ikd.zoo import located

PAGES = Path(__file__).parents[1] / "docs" / "hooks"
CORE_HOOKS = {name: f for name, f in vars(hookspecs).items() if inspect.isfunction(f) and hasattr(f, "i2ikd_spec")}
OF_PLUGINS = [kind for kind in default_registry().kinds.values() if kind not in CORE_KINDS]
HOOKS = {**CORE_HOOKS, **{kind.hook: hookspecs.register_models for kind in OF_PLUGINS}}
"""Hooks of the core, and those of kinds that the installed plugins define, which all have one signature."""


def page(hook: str) -> str:
    return (PAGES / f"{hook}.md").read_text(encoding="utf-8")


Example = Callable[[str], Registry]


class TestEveryHook:
    def test_has_a_page_and_no_page_is_left_over(self) -> None:
        assert {path.stem for path in PAGES.glob("*.md")} == {*HOOKS, "index"}

    @pytest.mark.parametrize("hook", HOOKS)
    def test_has_a_test_of_its_own(self, hook: str) -> None:
        folder = Path(__file__).parent
        sources = [folder / name for name in ("test_hookspecs.py", "test_life_cycle_hooks.py")]
        assert sum(file.read_text("utf-8").count(f"\ndef test_{hook}(") for file in sources) == 1

    @pytest.mark.parametrize("hook", HOOKS)
    def test_is_on_the_index_and_its_page_gives_its_signature(self, hook: str) -> None:
        assert f"({hook}.md)" in page("index")
        arguments = ", ".join(
            f"{name}: {kind}" for name, kind in HOOKS[hook].__annotations__.items() if name != "return"
        )
        text = page(hook)
        assert text.startswith(f"# {hook}\n")
        assert f"def {hook}({arguments}) -> None\n" in text
        metadata = "## Metadata" if hook.startswith("register_") else "## Context"
        for heading in ("## Example", metadata, "## Commands"):
            assert text.count(f"\n{heading}\n") == 1

    @pytest.mark.parametrize("hook", HOOKS)
    def test_has_an_example_that_implements_it_and_loads_no_torch_to_register(self, hook: str) -> None:
        plugin = re.search(r"```python\n# my_package/plugin\.py\n(.*?)```", page(hook), re.DOTALL)
        assert plugin is not None
        assert f"@i2ikd.hookimpl\ndef {hook}(" in plugin.group(1)
        assert re.search(r"^(import|from) (torch|numpy|timm|matplotlib)", plugin.group(1), re.MULTILINE) is None

    @pytest.mark.parametrize("hook", HOOKS)
    def test_links_lead_to_pages(self, hook: str) -> None:
        for link in re.findall(r"\]\(([^)]+)\)", page(hook)):
            assert (PAGES / link).is_file()

    def test_kinds_and_registration_hooks_are_the_same_things(self) -> None:
        hooks = {kind.hook for kind in CORE_KINDS} | {"register_kinds"}
        assert hooks == {hook for hook in CORE_HOOKS if hook.startswith("register_")}
        assert [kind.hook for kind in OF_PLUGINS] == ["register_masks", "register_coil_maps"]

    @pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook.startswith("register_")])
    def test_an_example_s_component_knows_its_summary_and_plugin(self, hook: str, example: Example) -> None:
        (component,) = next(p.provides for p in example(hook).plugins if p.name == "my-plugin")
        assert isinstance(component, Component)
        assert component.summary
        assert component.plugin.label == "my-plugin (my-package 0.1)"


def test_register_kinds(example: Example) -> None:
    registry = example("register_kinds")
    assert list(registry.kinds)[-1] == "noise"
    image = torch.zeros(50, 50)
    noise = registry.create("noise", "gaussian", {"sigma": 0.5})
    once = noise(image, torch.Generator().manual_seed(3))
    assert torch.equal(once, 0.5 * torch.randn(50, 50, generator=torch.Generator().manual_seed(3)))
    parts = {"parts": [{"name": "gaussian", "sigma": 0.3}, {"name": "gaussian", "sigma": 0.4}]}
    generator, expected = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    both = registry.create("noise", "import:my_package.noises:InOrder", parts)(image, generator)
    draws = [torch.randn(50, 50, generator=expected) for _ in range(2)]
    assert torch.allclose(both, 0.3 * draws[0] + 0.4 * draws[1], atol=1e-6)
    with pytest.raises(UserError, match="unknown noise 'gausian'; did you mean 'gaussian'"):
        registry.create("noise", "import:my_package.noises:InOrder", {"parts": [{"name": "gausian"}]})


def test_register_models(example: Example) -> None:
    registry = example("register_models")
    network = registry.create("model", "wide-cnn", {"width": 3})
    image = torch.randn(2, 1, 6, 5)
    assert network(image, mask=torch.ones(1)).shape == image.shape
    assert sum(p.numel() for p in network.parameters()) == 3 * 9 + 3 + 3 * 9 + 1
    with pytest.raises(UserError, match="width = 0"):
        registry.create("model", "wide-cnn", {"width": 0})


def test_register_pairs(example: Example) -> None:
    component = example("register_pairs").get("pairs", "plain-cnn-middle")
    assert (component.metadata["teacher"], component.metadata["student"]) == ("plain-cnn", "plain-cnn")
    assert component.metadata["tap_kind"] == "features"
    teacher, student = PlainCNN(depth=6, channels=2), PlainCNN(depth=3, channels=2)
    pairs = component.resolve()(teacher, student)
    assert resolve_pairs(teacher, student, pairs) == [("layers.2.activation", "layers.0.activation")]
    with pytest.raises(UserError, match="the student has one layer"):
        component.resolve()(teacher, PlainCNN(depth=1))


def test_register_tasks(example: Example) -> None:
    task = example("register_tasks").create("task", "denoise-discs", {"size": 12, "noise": 0.5})
    fixed, varying = task.dataset("train"), task.dataset("train", ["noise"])
    batch = Batch.collate([fixed[5], fixed[2]])
    assert batch.input.shape == batch.target.shape == (2, 1, 12, 12)
    assert batch.keys == [SampleKey("train-1", "train-1", 1), SampleKey("train-0", "train-0", 2)]
    assert torch.equal(fixed.sample(5, 3).input, fixed[5].input)
    assert torch.equal(varying.sample(5, 3).input, varying.sample(5, 3).input)
    assert not torch.equal(varying.sample(5, 3).input, varying.sample(5, 4).input)
    assert torch.equal(varying.sample(5, 3).target, fixed[5].target)
    assert (batch.input - batch.target).std().item() == pytest.approx(0.5, rel=0.15)
    volumes = [{key.volume for key in task.dataset(split).keys} for split in ("train", "val", "test")]
    assert len(set.union(*volumes)) == sum(map(len, volumes))
    assert json.loads(json.dumps(task.identity())) == {"size": 12, "noise": 0.5}
    assert task.loss(batch.input, batch.target) == (batch.input - batch.target).abs().mean()
    with pytest.raises(UserError, match="no split 'validation'"):
        task.dataset("validation")


def test_register_datasets(example: Example) -> None:
    source = example("register_datasets").create("dataset", "stripes", {"size": 16, "slices": 3})
    names = [volume.name for split in ("train", "val", "test") for volume in source.volumes(split)]
    assert len(set(names)) == len(names) == 10
    volume = source.volumes("val")[1]
    assert len(volume) == 3
    image = volume[2]["image"]
    assert image.shape == (16, 16)
    assert 0 <= image.min() < image.max() <= 1
    assert np.ptp(image, axis=0).max() == 0
    assert np.ptp(image, axis=1).min() > 0.5
    assert json.loads(json.dumps(source.identity()))["size"] == 16


def test_register_readers(example: Example, tmp_path: Path) -> None:
    registry = example("register_readers")
    assert registry.get("reader", "npz").metadata["suffixes"] == ".npz"
    reader = registry.create("reader", "npz", {"field": "volume"})
    slices = np.random.default_rng(1).random((3, 4, 5))
    np.savez(tmp_path / "head.npz", volume=slices, flat=slices[0])
    volume = reader(tmp_path / "head.npz")
    assert (volume.name, len(volume)) == ("head", 3)
    assert np.array_equal(volume[2]["image"], slices[2])
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04torn")
    np.savez(tmp_path / "pickle.npz", volume=np.array([{"a": 1}], dtype=object))
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, slices)
    for broken in ("torn", "pickle", "missing", "array"):
        with pytest.raises(UserError, match=f"{broken}.npz: cannot be read"):
            reader(tmp_path / f"{broken}.npz")
    with pytest.raises(UserError, match="there is no array 'image'; there are volume, flat"):
        registry.create("reader", "npz")(tmp_path / "head.npz")
    with pytest.raises(UserError, match=r"flat is \[4, 5\]"):
        registry.create("reader", "npz", {"field": "flat"})(tmp_path / "head.npz")


def test_register_masks(example: Example) -> None:
    mask = example("register_masks").create("mask", "central-lines", {"acceleration": 5})
    centered = mask((20, 7), centered=True)
    assert centered.shape == (20, 1)
    assert centered.flatten().nonzero().flatten().tolist() == [8, 9, 10, 11]
    assert mask((20, 7)).flatten().nonzero().flatten().tolist() == [0, 1, 18, 19]
    assert mask((15, 7), centered=True).flatten().nonzero().flatten().tolist() == [6, 7, 8]
    assert mask((15, 7)).flatten().nonzero().flatten().tolist() == [0, 1, 14]
    assert mask.fixed
    assert json.loads(json.dumps(mask.identity()))["acceleration"] == 5


def test_register_coil_maps(example: Example) -> None:
    maps = example("register_coil_maps").create("coil_map", "smooth", {"order": 1})
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 12), torch.linspace(-1, 1, 9), indexing="ij")
    true = torch.stack([1 + 0.5 * rows, 1 - 0.5 * columns]).to(torch.complex64)
    kspace = torch.fft.fft2(true, norm="ortho")
    found = maps(kspace, torch.ones(12, 1))
    assert torch.allclose(found.abs().square().sum(0), torch.ones(12, 9))
    assert unexplained_energy(true, found) < 0.01 < unexplained_energy(true, true.flip(0) / true.norm(dim=0))
    assert json.loads(json.dumps(maps.identity()))["order"] == 1


class PlainTask:
    """As much of a task as an objective or a transform uses."""

    @staticmethod
    def loss(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (prediction - target).abs().mean()


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_register_distillers(example: Example, norm: str) -> None:
    distiller = example("register_distillers").create("distiller", "channel-mean", {"norm": norm})
    distiller.build([TapShapes(teacher=(4, 6, 8), student=(3, 3, 4)), TapShapes((2, 5, 5), (7, 5, 5))])
    torch.manual_seed(4)
    teacher = Features([torch.randn(2, 4, 6, 8), torch.randn(2, 2, 5, 5)])
    student = Features([torch.randn(2, 3, 3, 4, requires_grad=True), torch.randn(2, 7, 5, 5)])
    batch = Batch(torch.zeros(2, 1, 6, 8), torch.zeros(2, 1, 6, 8))
    loss = distiller(student, distiller.knowledge(teacher, batch), batch)
    coarse = teacher.taps[0].numpy().mean(1).reshape(2, 3, 2, 4, 2).mean((2, 4))
    difference = student.taps[0].detach().numpy().mean(1) - coarse
    other = student.taps[1].numpy().mean(1) - teacher.taps[1].numpy().mean(1)
    power = {"l1": 1, "l2": 2}[norm]
    expected = [np.mean(np.abs(d) ** power) for d in (difference, other)]
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-5)
    loss.backward()
    assert student.taps[0].grad is not None
    alone = distiller.knowledge(Features([tap[1:] for tap in teacher.taps]), batch)
    assert torch.equal(alone["0"][0], distiller.knowledge(teacher, batch)["0"][1])


def test_register_objectives(example: Example) -> None:
    registry, task = example("register_objectives"), cast(Any, PlainTask())
    student, teacher = PlainCNN(depth=2, channels=3), PlainCNN(depth=3, channels=2)
    batch = Batch(torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8))
    objective = registry.create("objective", "moving-target", {"start": 0.8})
    assert objective.needs == {"teacher"}
    context = ObjectiveContext(
        student, "student", {"teacher": teacher}, {}, None, task, registry, batch, 2, 0, "output"
    )
    objective.setup(context)
    (request,) = objective.requests()
    with Teacher(teacher, request.paths) as observed:
        outputs = {request.name: request.extract(observed.features(request.paths, observed(batch)), batch)}
    for epoch, share in ((0, 0.8), (3, 0.2)):
        objective.on_epoch_start(epoch, 4)
        loss = objective(batch, outputs)
        target = share * teacher(batch.input).detach() + (1 - share) * batch.target
        expected = (student(batch.input) - target).abs().mean()
        assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
        assert loss.parts["moving-target"].item() == loss.total.item()
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_register_transforms(example: Example) -> None:
    registry = example("register_transforms")
    network = PlainCNN(depth=2, channels=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    transform = registry.create("transform", "prune", {"share": 0.3})
    assert transform.when == "trained"
    changed = transform.apply(network, [], PlainTask())
    for name, tensor in changed.state_dict().items():
        zeros = int(0.3 * tensor.numel()) if name.endswith("weight") else 0
        order = before[name].flatten().abs().argsort()
        assert (tensor.flatten()[order[:zeros]] == 0).all()
        assert torch.equal(tensor.flatten()[order[zeros:]], before[name].flatten()[order[zeros:]])
    with pytest.raises(UserError, match="expected a network with convolutions, got Identity"):
        transform.apply(nn.Identity(), [], PlainTask())


def test_register_combinations(example: Example) -> None:
    torch.manual_seed(2)
    networks = [PlainCNN(depth=1) for _ in range(3)]
    image = torch.randn(2, 1, 5, 4)
    median = example("register_combinations").create("combination", "median", {"networks": networks})
    expected = np.median([network(image).detach().numpy() for network in networks], axis=0)
    assert np.array_equal(median(image, mask=torch.ones(1)).detach().numpy(), expected)
    assert sum(p.numel() for p in median.parameters()) == 3 * sum(p.numel() for p in networks[0].parameters())


def test_register_recipes(example: Example) -> None:
    stages = example("register_recipes").create("recipe", "warm-start", {"warm_epochs": 2, "learning_rate": 0.01})
    assert all(isinstance(stage, Stage) for stage in stages)
    assert [(stage.name, stage.epochs, stage.training) for stage in stages] == [
        ("imitate", 2, {"lr": 0.01}),
        ("reconstruct", None, {}),
    ]
    known = {component.name for component in default_registry().components("distiller")}
    assert {term.distiller.name for stage in stages for term in stage.terms} <= known


def test_register_metrics(example: Example) -> None:
    metric = example("register_metrics").create("metric", "worst-pixel-slice")
    target = np.array([[1.0, 2.0, 4.0], [0.0, 3.0, 1.0]])
    assert metric(target + np.array([[0, 1, 0], [0, -2, 0]]), target) == 0.5
    assert (metric.scope, metric.higher_is_better) == ("slice", False)


def test_register_figures(example: Example) -> None:
    from i2ikd.evaluation.statistics import Estimate
    from i2ikd.experiment.summary import Comparison, Costs, Row

    def row(arm: str, kind: Any, params: int | None, mean: float) -> Row:
        costs = None if params is None else Costs(params, 10 * params)
        return Row(arm, kind, costs, {"psnr": Estimate(mean, mean - 1, mean + 2, 5)})

    rows = [row("zero-filled", "baseline", None, 24), row("teacher", "teacher", 100, 32), row("kd", "arm", 40, 31)]
    comparison = Comparison("heads", {}, {"psnr": "psnr-volume-max"}, rows, [])
    figure = example("register_figures").get("figure", "size-quality").resolve()(comparison)
    (axes,) = figure.axes
    assert axes.get_ylabel() == "psnr-volume-max"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["teacher", "kd"]
    figure.canvas.draw()


def test_register_trackers(example: Example, tmp_path: Path) -> None:
    registry = example("register_trackers")
    tracker = registry.create("tracker", "json-lines", {"path": str(tmp_path / "run.jsonl")})
    tracker.log(1, {"total": 0.5})
    tracker.log(2, {"total": 0.25, "validation": 0.3})
    tracker.close()
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "total": 0.5},
        {"step": 2, "total": 0.25, "validation": 0.3},
    ]
    with pytest.raises(UserError, match=r"cannot write to .*No such file"):
        registry.create("tracker", "json-lines", {"path": tmp_path / "no" / "folder"})


def test_register_exporters(example: Example, tmp_path: Path) -> None:
    network, batch = PlainCNN(depth=2, channels=3).eval(), Batch(torch.rand(2, 1, 6, 5), torch.zeros(2, 1, 6, 5))
    request = ExportRequest(network, lambda: form_of(network, batch), stand_in(batch, 2))
    exporter = example("register_exporters").create("exporter", "npz")
    assert exporter.precisions == ("fp32",)
    exporter.write(request, tmp_path / "network.npz")
    written = np.load(tmp_path / "network.npz")
    assert set(written.files) == {*network.state_dict()}
    with torch.no_grad():
        assert torch.equal(exporter.load(request, tmp_path / "network.npz")(batch), network(batch.input))


def test_register_bundles(example: Example, tmp_path: Path) -> None:
    registry = example("register_bundles")
    with pytest.raises(UserError, match=r"bundle 'knee-8x-student': expected the path of its folder, got .*knee"):
        located("zoo:knee-8x-student", registry)
    (tmp_path / "my_package" / "knee-8x-student").mkdir()
    assert located("zoo:knee-8x-student", registry) == tmp_path / "my_package" / "knee-8x-student"
    with pytest.raises(UserError, match="unknown bundle 'knee-8x-studnet'; did you mean 'knee-8x-student'"):
        located("zoo:knee-8x-studnet", registry)


def test_register_commands(example: Example) -> None:
    from click.testing import CliRunner

    component = example("register_commands").get("command", "count")
    result = CliRunner().invoke(component.resolve(), ["plain-cnn"])  # type: ignore[arg-type]
    assert (result.exit_code, result.output) == (0, "28353\n")
    assert "$ i2ikd count plain-cnn\n28353\n" in page("register_commands")
