"""Inference of a volume: what is read, restored and written, with units, types and headers of the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import i2ikd
from i2ikd import UserError
from i2ikd.evaluation.infer import Inference, InferenceResult
from i2ikd.evaluation.inference_plan import InferenceItem

CPU = torch.device("cpu")
SHAPE = (6, 8, 3)


class Identity(nn.Module):
    """Returns its input."""

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        return input


def everything_measured(folder: Path, **options: Any) -> Any:
    """Return the reconstruction task with a mask of ones: its input is the image."""
    np.save(folder / "mask.npy", np.ones(SHAPE[:2]))
    dataset = {"name": "folder", "root": folder}
    return i2ikd.create(
        "task", "mri-recon", dataset=dataset, mask={"name": "file", "path": folder / "mask.npy"}, **options
    )


@pytest.mark.parametrize("kind", ["complex", "int16"])
def test_values_types_and_header_of_nifti_survive(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(4)
    values = random.integers(0, 900, SHAPE).astype(np.int16)
    if kind == "complex":
        values = (values * np.exp(1j * random.random(SHAPE))).astype(np.complex64)
    image = nibabel.Nifti1Image(values, np.array([[0, -2.0, 0, 5], [3, 0, 0, -7], [0, 0, 4, 1], [0, 0, 0, 1]]))
    image.header.set_xyzt_units("mm", "msec")
    image.set_sform(image.affine, 3)
    image.set_qform(image.affine, 2)
    image.header["descrip"] = b"scan"
    nibabel.save(image, tmp_path / "in.nii.gz")
    task = everything_measured(tmp_path, mode="complex" if kind == "complex" else "real")
    result = Inference(Identity(), task, CPU)(InferenceItem(tmp_path / "in.nii.gz", tmp_path / "out.nii.gz"))
    kinds = {"complex": "complex", "int16": "magnitude"}[kind]
    statement = f"k-space from {kinds} images; mask file applied, acceleration 1.00"
    assert result == InferenceResult(3, SHAPE[:2], (statement,))
    written = nibabel.load(tmp_path / "out.nii.gz")
    assert written.get_data_dtype() == (np.complex64 if kind == "complex" else np.float32)
    np.testing.assert_allclose(np.asarray(written.dataobj), values, atol=900 * 1e-6)
    np.testing.assert_array_equal(written.affine, image.affine)
    for name in ("xyzt_units", "descrip", "sform_code", "qform_code"):
        assert written.header[name] == image.header[name], name


class Plain(i2ikd.Task):
    """A task of another plugin: two slices, and a ``write`` that fails with a given problem."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem

    def dataset(self, split: str, augmentations: Any = ()) -> Any:
        return Slices()

    def identity(self) -> dict[str, Any]:
        return {}

    def sample_from_file(self, path: Path) -> Any:  # type: ignore[override]
        return Slices()

    def write(self, outputs: Any, source: Path, path: Path) -> None:  # type: ignore[override]
        if self.problem is not None:
            raise UserError(f"{path}: {self.problem}") from self.problem
        path.write_text(str(len(outputs)))


class Slices(i2ikd.SampleDataset):
    keys = [i2ikd.SampleKey(volume="v", index=index) for index in range(2)]  # type: ignore[assignment]  # noqa: RUF012

    def sample(self, index: int, seed: int | None) -> i2ikd.Sample:
        return i2ikd.Sample(torch.zeros(1, 4, 4), None, {}, self.keys[index])


def test_a_task_with_the_shortest_signatures_is_enough(tmp_path: Path) -> None:
    item = InferenceItem(tmp_path / "in.x", tmp_path / "out.x")
    assert Inference(Identity(), Plain(), CPU)(item) == InferenceResult(2, (4, 4), ())
    assert item.target.read_text() == "2"
    with pytest.raises(UserError, match=r"the task Plain reads new data only: .* omit --simulate"):
        Inference(Identity(), Plain(), CPU, simulate=True)


def test_messages_name_the_target_instead_of_a_temporary_file(tmp_path: Path) -> None:
    item = InferenceItem(tmp_path / "in.x", tmp_path / "out.x")
    with pytest.raises(UserError) as raised:
        Inference(Identity(), Plain(ValueError("odd")), CPU)(item)
    assert str(raised.value) == f"{tmp_path / 'out.x'}: odd"
    assert list(tmp_path.iterdir()) == []
