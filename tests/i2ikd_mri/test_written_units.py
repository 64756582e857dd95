"""Results have the units and the type of their source: the scale is undone, complex values stay complex."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
import torch
from i2ikd_mri.slice_task import SliceTask
from PIL import Image

import i2ikd
from i2ikd import UserError
from i2ikd.evaluation.infer import Inference

RNG = np.random.default_rng(7)
SHAPE = (6, 8, 3)


def task(root: Path, **options: Any) -> SliceTask:
    created: SliceTask = i2ikd.create("task", "mri-recon", dataset={"name": "folder", "root": root}, **options)
    return created


def targets(task: SliceTask, source: Path) -> list[torch.Tensor]:
    """Return the images of a perfect network."""
    samples = task.sample_from_file(source)
    images = [samples[index].target for index in range(len(samples))]
    assert all(image is not None for image in images)
    return [image for image in images if image is not None]


@pytest.mark.parametrize("name", ["out.nii.gz", "out.h5", "out.npy", "out.tif", "out.mgz"])
def test_the_output_of_a_perfect_network_equals_the_source(tmp_path: Path, name: str) -> None:
    values = (RNG.random(SHAPE) * 1000).astype(np.float32)
    source = tmp_path / "in.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 3, 4, 1])), source)
    created = task(tmp_path)
    created.write(targets(created, source), source, tmp_path / name)
    np.testing.assert_allclose(loaded(tmp_path / name), values, rtol=1e-6)
    created.write(targets(created, source), source, tmp_path / name, scale="unit")
    np.testing.assert_allclose(loaded(tmp_path / name), values / values.max(), rtol=1e-6)


def loaded(path: Path) -> np.ndarray:
    """Return a written volume [H, W, slices]."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return np.asarray(file["reconstruction"])
    if path.suffix == ".npy":
        return np.moveaxis(np.load(path), 0, -1)
    if path.suffix == ".tif":
        return np.moveaxis(tifffile.imread(path), 0, -1)
    return np.asarray(nibabel.load(path).dataobj)


@pytest.mark.parametrize("name", ["out.nii", "out.h5", "out.npy", "out.tif"])
def test_complex_values_stay_complex(tmp_path: Path, name: str) -> None:
    values = (50 * (RNG.standard_normal(SHAPE) + 1j * RNG.standard_normal(SHAPE))).astype(np.complex64)
    source = tmp_path / "in.nii"
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), source)
    created = task(tmp_path, mode="complex")
    created.write(targets(created, source), source, tmp_path / name)
    result = loaded(tmp_path / name)
    assert result.dtype == np.complex64
    np.testing.assert_allclose(result, values, rtol=1e-5)
    with pytest.raises(UserError, match="MGH stores no complex values"):
        created.write(targets(created, source), source, tmp_path / "out.mgz")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("folder", [False, True])
def test_pictures_keep_their_depth_and_their_values(tmp_path: Path, dtype: type, folder: bool) -> None:
    pictures = RNG.integers(0, np.iinfo(dtype).max // 2, (3, 6, 8)).astype(dtype)
    source = tmp_path / "in"
    source.mkdir()
    for number, picture in enumerate(pictures if folder else pictures[:1]):
        Image.fromarray(picture).save(source / f"{number}.png")
    created = task(tmp_path)
    place = source if folder else source / "0.png"
    output = tmp_path / ("out" if folder else "out.png")
    created.write(targets(created, place), place, output)
    written = [np.asarray(Image.open(path)) for path in (sorted(output.iterdir()) if folder else [output])]
    np.testing.assert_array_equal(written, pictures[: len(written)])
    assert len(written) == (3 if folder else 1) and written[0].dtype == dtype


def test_a_task_without_a_choice_of_scale_is_refused(tmp_path: Path) -> None:
    class Plain:
        """Task of a plugin whose method ``write`` has the three arguments of the interface."""

        def write(self, outputs: object, source: Path, path: Path) -> None: ...

    network = torch.nn.Identity()
    Inference(network, Plain(), torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"task Plain writes the units of the source only.*omit --scale"):
        Inference(network, Plain(), torch.device("cpu"), scale="unit")  # type: ignore[arg-type]
