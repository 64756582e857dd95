"""``i2ikd infer``: files, folders and tiles through a trained network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from i2ikd.api import load
from i2ikd.evaluation.predict import predict
from i2ikd.network import apply
from i2ikd.registry import default_registry

SHAPE = (20, 28, 3)
AFFINE = np.array([[0, -2.0, 0, 5], [3, 0, 0, -7], [0, 0, 4, 1], [0, 0, 0, 1]])


@pytest.fixture
def anatomy() -> np.ndarray:
    """Return a volume [H, W, slices] in 0..250 with axes of different lengths and an empty last slice."""
    rows, columns, slices = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    volume = 250 * np.clip(1 - (rows - 0.3) ** 2 - columns**2 * (1.5 + slices), 0, 1) ** 2
    volume[..., -1] = 0
    return volume.astype(np.float32)


def hdf5(path: Path, volume: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["volfs"] = volume
    return path


def written(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        result: np.ndarray = file["reconstruction"][:]
    return result


def evaluated(path: Path, folder: Path, i2ikd: Callable[..., Any], root: Path) -> list[float]:
    """Return the PSNR per slice of a run's network on the volumes in ``root``, as reported by ``evaluate``."""
    records = folder / "records.csv"
    dataset = f"task.dataset={{name='folder', root='{root}'}}"
    assert i2ikd("evaluate", path, "-o", dataset, "--records", records).code == 0
    lines = [line.split(",") for line in records.read_text().splitlines()]
    column = lines[0].index("psnr-volume-max")
    return [float(line[column]) for line in lines[1:] if line[lines[0].index("arm")] == "network"]


class TestAFile:
    def test_output_equals_the_image_scored_by_evaluate(
        self, reconstruction: Path, i2ikd: Any, tmp_path: Path, anatomy: np.ndarray
    ) -> None:
        volume = anatomy[..., :2]
        source = hdf5(tmp_path / "data" / "test" / "head.h5", volume)
        answer = i2ikd("infer", reconstruction, "--input", source, "--output", tmp_path / "head.h5")
        assert answer.code == 0
        assert answer.out.startswith("simulated: k-space from magnitude images; mask variable-density applied, acc")
        assert f"\n{source} -> {tmp_path / 'head.h5'}: 2 slices of 20 x 28, " in answer.out
        result, target = written(tmp_path / "head.h5") / volume.max(), volume / volume.max()
        assert result.shape == volume.shape and result.dtype == np.float32
        expected = peak_signal_noise_ratio(target.astype(np.float64), result.astype(np.float64), data_range=1)
        assert evaluated(reconstruction, tmp_path, i2ikd, tmp_path / "data") == pytest.approx([expected] * 2, abs=1e-3)

        task = default_registry().create(
            "task", "mri-recon", {"dataset": {"name": "folder", "root": tmp_path / "data"}}
        )
        network = load(reconstruction)
        with torch.no_grad():
            (rows,) = predict(task, task.dataset("test"), lambda batch: {"network": apply(network, batch)})
        np.testing.assert_allclose(np.moveaxis(result, -1, 0), rows["network"].predictions, atol=1e-6)

    def test_values_have_the_units_of_the_source_or_of_the_network(
        self, reconstruction: Path, i2ikd: Any, tmp_path: Path, anatomy: np.ndarray
    ) -> None:
        source = hdf5(tmp_path / "head.h5", anatomy)
        results = {}
        for scale in ("source", "unit"):
            output = tmp_path / f"{scale}.h5"
            arguments = ("infer", reconstruction, "--input", source, "--output", output, "--scale", scale)
            assert i2ikd(*arguments).code == 0
            results[scale] = written(output)
        np.testing.assert_allclose(results["source"], results["unit"] * anatomy.max(), rtol=1e-6)
        assert i2ikd("infer", reconstruction, "--input", source, "--output", tmp_path / "default.h5").code == 0
        np.testing.assert_array_equal(written(tmp_path / "default.h5"), results["source"])

    def test_of_nifti_preserves_axes_and_affine(
        self, reconstruction: Path, i2ikd: Any, tmp_path: Path, anatomy: np.ndarray
    ) -> None:
        nibabel.save(nibabel.Nifti1Image(anatomy, AFFINE), tmp_path / "head.nii.gz")
        hdf5(tmp_path / "head.h5", anatomy)
        for name in ("head.nii.gz", "head.h5"):
            assert (
                i2ikd("infer", reconstruction, "--input", tmp_path / name, "--output", tmp_path / f"new-{name}").code
                == 0
            )
        result = nibabel.load(tmp_path / "new-head.nii.gz")
        np.testing.assert_array_equal(result.affine, AFFINE)
        np.testing.assert_array_equal(np.asarray(result.dataobj), written(tmp_path / "new-head.h5"))

    def test_overrides_are_applied_and_the_result_is_reported_as_json(
        self, reconstruction: Path, i2ikd: Any, tmp_path: Path, anatomy: np.ndarray
    ) -> None:
        source, output = hdf5(tmp_path / "head.h5", anatomy), tmp_path / "pictures"
        dataset = "task.dataset={name='folder', root='nowhere', size=[40, 36]}"
        answer = i2ikd("infer", reconstruction, "--input", source, "--output", output, "-o", dataset, "--json")
        document = json.loads(answer.out)
        (row,) = document["written"]
        assert (document["skipped"], document["failed"], row["size"]) == ([], [], [40, 36])
        assert (row["input"], row["output"], row["slices"]) == (str(source), str(output), 3)
        pictures = [np.asarray(Image.open(path)) for path in sorted(output.iterdir())]
        assert [picture.shape for picture in pictures] == [(40, 36)] * 3
        assert max(picture.max() for picture in pictures) == 255


class TestAFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path, anatomy: np.ndarray) -> Path:
        """Create volumes of four formats at two depths, and unrelated files."""
        root = tmp_path / "new"
        hdf5(root / "one" / "head.h5", anatomy)
        np.save(root / "head.npy", np.moveaxis(anatomy, -1, 0))
        tifffile.imwrite(root / "head.tif", np.moveaxis(anatomy, -1, 0), photometric="minisblack")
        (root / "scan").mkdir()
        for number in range(2):
            Image.fromarray(anatomy[..., number].astype(np.uint8)).save(root / "scan" / f"{number}.png")
        (root / "notes.txt").write_text("no volume")
        (root / ".hidden.npy").write_text("no volume")
        return root

    def test_results_have_the_relative_paths_of_their_sources(
        self, reconstruction: Path, i2ikd: Any, folder: Path, tmp_path: Path
    ) -> None:
        output = folder / "results"
        for attempt in ((), ("--force",)):
            assert i2ikd("infer", reconstruction, "--input", folder, "--output", output, *attempt).code == 0
            found = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
            assert found == ["head.npy", "head.tif", "one/head.h5", "scan/slice-000.png", "scan/slice-001.png"]
        volume = np.moveaxis(written(output / "one" / "head.h5"), -1, 0)
        np.testing.assert_array_equal(np.load(output / "head.npy"), volume)
        np.testing.assert_array_equal(tifffile.imread(output / "head.tif"), volume)

    def test_of_pictures_is_read_as_one_volume(
        self, reconstruction: Path, i2ikd: Any, folder: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "scan.h5"
        assert i2ikd("infer", reconstruction, "--input", folder / "scan", "--output", output).code == 0
        assert written(output).shape == (*SHAPE[:2], 2)

    def test_is_read_by_the_configured_reader(
        self, reconstruction: Path, i2ikd: Any, folder: Path, tmp_path: Path
    ) -> None:
        dataset = "task.dataset={name='folder', root='nowhere', reader='kdmri-hdf5'}"
        output = tmp_path / "results"
        assert i2ikd("infer", reconstruction, "--input", folder, "--output", output, "-o", dataset).code == 0
        assert [path.name for path in output.rglob("*") if path.is_file()] == ["head.h5"]


class TestTiles:
    def test_equal_the_whole_slice_within_the_receptive_field(
        self, sharpening: Path, i2ikd: Any, tmp_path: Path, anatomy: np.ndarray
    ) -> None:
        """The receptive field extends 3 pixels; of an overlap of 12, 3 pixels are discarded on either side."""
        source = hdf5(tmp_path / "head.h5", anatomy)
        whole, tiled = tmp_path / "whole.h5", tmp_path / "tiled.h5"
        arguments = ("infer", sharpening, "--scale", "unit", "--input", source, "--output")
        assert i2ikd(*arguments, whole, "-o", "task.factor=2").code == 0
        assert i2ikd(*arguments, tiled, "-o", "task.factor=2", "--tile", 24, "--overlap", 12).code == 0
        np.testing.assert_allclose(written(tiled), written(whole), atol=1e-6)

    def test_are_refused_for_conditions_of_the_whole_slice(
        self, reconstruction: Path, i2ikd: Any, tmp_path: Path, anatomy: np.ndarray
    ) -> None:
        source, output = hdf5(tmp_path / "head.h5", anatomy), tmp_path / "out.h5"
        error = i2ikd("infer", reconstruction, "--input", source, "--output", output, "--tile", 16).error
        assert "cannot be tiled: a part of a slice is no input of its network" in error
        assert not output.exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--overlap", 4), "--overlap needs --tile"),
            (("--tile", 8, "--overlap", 5), "overlap: expected 0 to 4 pixels (half of the tile), got 5"),
            (("--tile", 0), "0 is not in the range x>=1"),
        ],
    )
    def test_of_invalid_size_or_overlap_are_refused(
        self, sharpening: Path, i2ikd: Any, tmp_path: Path, arguments: tuple[object, ...], message: str
    ) -> None:
        assert message in i2ikd("infer", sharpening, "--input", tmp_path, "--output", tmp_path / "x", *arguments).error


class TestExistingFiles:
    @pytest.fixture
    def source(self, tmp_path: Path, anatomy: np.ndarray) -> Path:
        return hdf5(tmp_path / "in" / "head.h5", anatomy)

    def test_are_refused_without_force(self, reconstruction: Path, i2ikd: Any, source: Path, tmp_path: Path) -> None:
        output = tmp_path / "out" / "head.h5"
        hdf5(output, np.zeros(SHAPE))
        before = output.read_bytes()
        for given, place in ((source, output), (source.parent, output.parent)):
            error = i2ikd("infer", reconstruction, "--input", given, "--output", place).error
            assert error.startswith(f"{output} exists already")
            assert error.endswith("; overwrite with --force, keep with --skip-existing, or choose another output")
        assert output.read_bytes() == before
        assert i2ikd("infer", reconstruction, "--input", source, "--output", output, "--force").code == 0
        assert written(output).any()

    def test_the_input_is_not_overwritten_with_force(self, reconstruction: Path, i2ikd: Any, source: Path) -> None:
        before = source.read_bytes()
        for place in (source, source.parent):
            error = i2ikd("infer", reconstruction, "--input", place, "--output", place, "--force").error
            assert "input and output are the same file" in error
        assert source.read_bytes() == before

    def test_no_partial_result_remains_for_an_invalid_slice(
        self, reconstruction: Path, i2ikd: Any, tmp_path: Path, anatomy: np.ndarray
    ) -> None:
        anatomy[3, 4, 1] = np.nan
        source, output = hdf5(tmp_path / "in.h5", anatomy), tmp_path / "out.h5"
        error = i2ikd("infer", reconstruction, "--input", source, "--output", output).error
        assert error.startswith(str(source)) and "slice 1: it holds values that are not finite" in error
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5"]


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("nowhere.h5", "out.h5", "no such file or folder"),
        ("head.h5", "no/folder/out.h5", "of the output does not exist; create it first"),
        ("head.h5", "out.jpg", "expected a suffix of .h5, .nii"),
        ("head.h5", "out.png", "expected a volume of 1 slice for a PNG, got 3 slices"),
        ("notes.txt", "out.h5", "no reader for this suffix"),
        ("empty", "out", "the folder contains no file that the task MriRecon reads"),
        ("some", "notes.txt", "is a folder: expected a folder as output, got the file"),
    ],
)
def test_unreadable_inputs_and_unwritable_outputs_are_refused(
    reconstruction: Path, i2ikd: Any, tmp_path: Path, anatomy: np.ndarray, source: str, output: str, message: str
) -> None:
    hdf5(tmp_path / "head.h5", anatomy)
    hdf5(tmp_path / "some" / "head.h5", anatomy)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    before = sorted(tmp_path.rglob("*"))
    assert message in i2ikd("infer", reconstruction, "--input", tmp_path / source, "--output", tmp_path / output).error
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_without_a_run_is_refused(i2ikd: Any, tmp_path: Path, anatomy: np.ndarray) -> None:
    source = hdf5(tmp_path / "head.h5", anatomy)
    error = i2ikd("infer", tmp_path, "--input", source, "--output", tmp_path / "out.h5").error
    assert "is not inside a comparison's folder" in error
