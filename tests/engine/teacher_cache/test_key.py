"""An answer is found again only where all that it depends on is the same."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import i2ikd
from i2ikd.builtin.objectives.active_term import ActiveTerm
from i2ikd.engine.teacher_cache import key
from i2ikd.engine.teacher_cache.key import CacheKey, sources
from i2ikd.recipe import Term
from i2ikd.sample import Sample, SampleKey

CPU = torch.device("cpu")


class Slices(i2ikd.SampleDataset):
    """Forty slices of noise."""

    def __init__(self, volume: str = "a", count: int = 40, shift: float = 0.0) -> None:
        self.volume, self.count, self.shift = volume, count, shift

    @property
    def keys(self) -> Sequence[SampleKey]:
        return [SampleKey(volume=self.volume, index=index) for index in range(self.count)]

    def sample(self, index: int, seed: int | None) -> Sample:
        image = torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(index)) + self.shift
        return Sample(image, image + 1, {"mask": image > 0.5}, self.keys[index])


class OtherSlices(Slices):
    """The same by another class."""


def network(scale: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        made[2].weight.mul_(scale)
    return made


def term(distiller: dict[str, Any] | None = None, paths: Sequence[str] = ("1",)) -> ActiveTerm:
    described = Term.model_validate({"distiller": distiller or {"name": "attention"}})
    made = i2ikd.create("distiller", described.distiller.name, **described.distiller.options)
    shapes = [i2ikd.TapShapes((2, 4, 5), (1, 4, 5))]
    return ActiveTerm("attention", made, described, list(paths), ["0"], shapes)


def address(
    dataset: Slices | None = None, metadata: dict[str, Any] | None = None, types: Sequence[type] = (), **changes: Any
) -> str | None:
    given = {"request": term().request(), "teacher": network(), "batch": 4, "device": CPU, "precision": "fp32"}
    key = CacheKey(dataset or Slices(), metadata or {"task": "t", "teacher": "d"}, types)
    return key.address(**(given | changes))


CHANGES: dict[str, Callable[[], str | None]] = {
    "the distiller's options": lambda: address(request=term({"name": "attention", "mode": "paper"}).request()),
    "the distiller": lambda: address(request=term({"name": "imitation"}).request()),
    "the taps": lambda: address(request=term(paths=["0"]).request()),
    "the teacher's weights": lambda: address(teacher=network(scale=1 + 1e-6)),
    "the teacher's type": lambda: address(teacher=network().double()),
    "the teacher's run": lambda: address(metadata={"task": "t", "teacher": "e"}),
    "the task": lambda: address(metadata={"task": "u", "teacher": "d"}),
    "the names of the samples": lambda: address(Slices(volume="b")),
    "the number of samples": lambda: address(Slices(count=41)),
    "what is in the samples": lambda: address(Slices(shift=1e-6)),
    "the code of the samples": lambda: address(types=[importlib.import_module("i2ikd_mri_recon.network").DCCNN]),
    "the batch": lambda: address(batch=3),
    "the precision": lambda: address(precision="bf16"),
    "the device": lambda: address(device=torch.device("meta")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_thing_that_answers_depend_on_makes_another_address(change: str) -> None:
    changed = CHANGES[change]()
    assert changed is not None and changed != address()


def test_the_same_made_again_has_the_same_address() -> None:
    found = address()
    assert found is not None and len(found) == 32 and found == address()


def test_another_number_of_threads_may_round_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    before = address()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert address() != before


def test_running_statistics_are_part_of_a_teacher() -> None:
    teacher = network()
    teacher(torch.rand(2, 1, 4, 5))
    assert address(teacher=teacher) != address()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], type]:
    """Writes a package long before this process began, imports it afresh, and gives its class."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(files: dict[str, str], age: float = 1000) -> type:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            os.utime(path, (key._LOADED - age,) * 2)
        for name in [name for name in sys.modules if name.split(".")[0] == "invented_package"]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        found: type = importlib.import_module("invented_package.inner.distillers").Own
        return found

    return make


INVENTED = {
    "invented_package/__init__.py": "",
    "invented_package/inner/__init__.py": "",
    "invented_package/inner/distillers.py": "class Own:\n    pass\n",
    "invented_package/means.py": "EPSILON = 1\n",
}


def test_a_changed_line_anywhere_in_a_package_counts(package: Any) -> None:
    before = sources([package(INVENTED)])
    assert before is not None and before == sources([package(INVENTED, age=5000)]), "a date is no change"
    changed = sources([package({"invented_package/means.py": "EPSILON = 2\n"})])
    assert changed is not None and changed != before
    assert sources([package(INVENTED)]) == before
    assert sources([package({"invented_package/more.py": ""})]) != before


def test_code_that_was_edited_since_it_was_loaded_is_not_known(package: Any) -> None:
    assert sources([package(INVENTED, age=1)]) is not None
    assert sources([package(INVENTED, age=-1)]) is None


def test_code_without_a_file_is_not_known() -> None:
    scope: dict[str, Any] = {"__name__": "typed_in"}
    exec("class Typed:\n    pass\n", scope)
    assert sources([scope["Typed"]]) is None
    assert sources([nn.Conv2d, dict]) is not None, "torch and Python count by version"
