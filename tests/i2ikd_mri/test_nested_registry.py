"""Nested components come from the registry that creates the task, not from the registry of the process."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from i2ikd_mri.masks import VariableDensity

import i2ikd
from i2ikd import Registry, UserError
from i2ikd.component import Plugin
from i2ikd.registry import default_registry

IMAGE = np.random.default_rng(0).random((2, 8, 10), dtype=np.float32)


class TextVolume:
    """Volume of two constant slices; the file is its name only."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem

    def __len__(self) -> int:
        return len(IMAGE)

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        return {"image": IMAGE[index]}


class TextReader:
    """Reader of a suffix that no bundled reader has."""

    suffixes = (".text-volume",)

    def __call__(self, path: Path) -> TextVolume:
        return TextVolume(path)


class EveryLine(VariableDensity):
    """Mask of all lines, under a name of its own."""

    def __call__(self, *arguments: Any, **options: Any) -> torch.Tensor:
        return torch.ones_like(super().__call__(*arguments, **options))


@pytest.fixture
def second() -> Registry:
    """A registry with a reader and a mask that the registry of the process lacks."""
    module = types.ModuleType("second")
    module.register_readers = i2ikd.hookimpl(  # type: ignore[attr-defined]
        lambda register: register("text-volume", TextReader, suffixes=".text-volume"), specname="register_readers"
    )
    module.register_masks = i2ikd.hookimpl(  # type: ignore[attr-defined]
        lambda register: register("every-line", EveryLine), specname="register_masks"
    )
    registry = Registry(Plugin(p.name, module=p.module) for p in default_registry().plugins if not p.problem)
    registry.add(Plugin("second", module=module))
    return registry


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "val", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"{split}.text-volume").write_text("")
    return tmp_path


@pytest.mark.parametrize("reader", [None, "text-volume", {"name": "text-volume"}])
def test_dataset_reader_and_mask_come_from_the_registry_of_the_task(second: Registry, root: Path, reader: Any) -> None:
    dataset = {"name": "folder", "root": root, "normalise": "none", "reader": reader}
    task = second.create("task", "mri-recon", {"dataset": dataset, "mask": {"name": "every-line"}})
    sample = task.dataset("test")[1]
    torch.testing.assert_close(sample.target[0], torch.from_numpy(IMAGE[1]))
    assert bool(sample.conditions["mask"].all())


def test_a_single_file_is_opened_with_the_readers_of_the_registry(second: Registry, root: Path) -> None:
    path = root / "test" / "test.text-volume"
    for name in ("mri-recon", "mri-sr"):
        task = second.create("task", name, {"dataset": "phantom"})
        assert task.reads(path, ())
        assert len(task.sample_from_file(path)) == len(IMAGE)
    low = second.create("task", "mri-sr", {"dataset": {"name": "folder", "root": root}, "factor": 2, "grid": "low"})
    assert len(low.sample_from_file(path)) == len(IMAGE)


def test_the_registry_of_the_process_lacks_both(root: Path) -> None:
    with pytest.raises(UserError, match="unknown mask 'every-line'"):
        i2ikd.create("task", "mri-recon", dataset="phantom", mask={"name": "every-line"})
    with pytest.raises(UserError, match=r"no file for the reader.*text-volume"):
        i2ikd.create("task", "mri-recon", dataset={"name": "folder", "root": root}).dataset("test")
