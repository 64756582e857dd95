"""Invalid data: the error names file and slice before the first training step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest


@pytest.mark.usefixtures("without_report")
class TestData:
    """Folders of HDF5 volumes with one fault each."""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        for number, split in enumerate(("train", "val", "test")):
            self.write(tmp_path / "data" / split / f"{split}-a.h5", number)
        return tmp_path / "data"

    def write(self, path: Path, seed: int = 9, shape: tuple[int, ...] = (16, 12, 4), key: str = "volfs") -> np.ndarray:
        values = np.random.default_rng(seed).random(shape, dtype=np.float32) + 0.1
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file[key] = values
        return values

    def change(self, path: Path, value: float, where: Any) -> None:
        with h5py.File(path, "r+") as file:
            file["volfs"][where] = value

    def dataset(self, root: Path) -> str:
        return f"task.dataset={{name='folder', root='{root}'}}"

    def test_valid_data_is_compared(self, data: Path, i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
        done = i2ikd("compare", tiny_file, "--out", tmp_path / "out", "--arms", "student", "-o", self.dataset(data))
        assert done.code == 0, done.err

    def test_a_missing_folder_is_refused(self, refused: Any, tmp_path: Path) -> None:
        assert "nowhere: no such folder; set the dataset option root" in refused(self.dataset(tmp_path / "nowhere"))

    def test_an_empty_folder_is_refused(self, refused: Any, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert "empty: no file for the reader" in refused(self.dataset(tmp_path / "empty"))

    def test_a_missing_split_is_refused(self, refused: Any, data: Path) -> None:
        (data / "test" / "test-a.h5").unlink()
        (data / "test").rmdir()
        assert "no folder for the split 'test'" in refused(self.dataset(data))

    @pytest.mark.parametrize("split", ["train", "val", "test"])
    def test_a_truncated_file_is_refused(self, split: str, refused: Any, data: Path) -> None:
        path = data / split / f"{split}-a.h5"
        path.write_bytes(path.read_bytes()[:-700])
        assert f"{split}-a.h5" in (line := refused(self.dataset(data))) and "truncated" in line

    def test_a_file_of_another_format_is_refused(self, refused: Any, data: Path) -> None:
        (data / "train" / "train-a.h5").write_text("not this")
        assert "train-a.h5: not an HDF5 file" in refused(self.dataset(data))

    def test_a_missing_key_is_refused(self, refused: Any, data: Path) -> None:
        self.write(data / "train" / "train-a.h5", key="image")
        assert "no dataset 'volfs'; it holds 'image'" in refused(self.dataset(data))

    def test_a_wrong_number_of_axes_is_refused(self, refused: Any, data: Path) -> None:
        self.write(data / "val" / "val-a.h5", shape=(3, 4, 5, 6))
        assert "expected a non-empty array [H, W, slices] or [H, W], got the shape (3, 4, 5, 6)" in refused(
            self.dataset(data)
        )

    @pytest.mark.parametrize("split", ["train", "val", "test"])
    def test_nan_is_refused(self, split: str, refused: Any, data: Path) -> None:
        self.change(data / split / f"{split}-a.h5", np.nan, (3, 4, 0))
        line = refused(self.dataset(data))
        assert f"{split}-a.h5" in line and "slice 0" in line and "finite" in line

    @pytest.mark.parametrize("split", ["train", "val", "test"])
    def test_an_empty_slice_is_refused(self, split: str, refused: Any, data: Path) -> None:
        self.change(data / split / f"{split}-a.h5", 0, (slice(None), slice(None), 1))
        line = refused(self.dataset(data), "task.dataset.empty=refuse")
        assert f"{split}-a, slice 1: image is all zero" in line

    def test_a_fault_in_the_last_test_slice_is_reported_before_training(
        self, i2ikd: Any, tiny_file: Path, data: Path, tmp_path: Path, optimiser_steps: Any
    ) -> None:
        self.change(data / "test" / "test-a.h5", np.inf, (0, 0, 3))
        line = i2ikd("compare", tiny_file, "--out", tmp_path / "out", "-o", self.dataset(data)).error
        assert "test-a.h5" in line and "slice 3" in line
        assert optimiser_steps.count == 0

    def test_volumes_of_unequal_size_are_in_separate_batches(
        self, i2ikd: Any, tiny_file: Path, data: Path, tmp_path: Path
    ) -> None:
        for split in ("train", "val", "test"):
            self.write(data / split / f"{split}-b.h5", shape=(14, 12, 4))
        changes = ("-o", self.dataset(data), "-o", "training.batch=2")
        done = i2ikd("compare", tiny_file, "--out", tmp_path / "out", *changes)
        assert done.code == 0, done.err

    def test_a_size_with_fewer_slices_than_a_batch_is_refused_before_the_first_step(
        self, refused: Any, data: Path, optimiser_steps: Any
    ) -> None:
        self.write(data / "train" / "train-b.h5", shape=(14, 12, 1))
        line = refused(self.dataset(data), "training.batch=2")
        assert "expected at most 1, the number of training slices of 14 x 12" in line and "got 2" in line
        assert "set a smaller batch, or give the dataset one size" in line
        assert optimiser_steps.count == 0

    def test_real_and_complex_volumes_together_are_refused(self, refused: Any, tmp_path: Path) -> None:
        for split, kind in (("train", np.float32), ("val", np.complex64), ("test", np.float32)):
            (tmp_path / "mixed" / split).mkdir(parents=True)
            np.save(tmp_path / "mixed" / split / f"{split}-a.npy", np.ones((2, 16, 12), kind))
        line = refused(self.dataset(tmp_path / "mixed"))
        assert "expected images of one type, got real (split 'train') and complex (split 'val')" in line

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            (np.ones((16, 16)), "expected the size of the slices [32, 32], got [16, 16]; set the dataset's size"),
            (np.zeros((32, 32)), "expected at least one measured sample, got zeros only"),
            (np.full((32, 32), 0.5), "expected zeros and ones, got other values"),
            (np.ones((2, 32, 32)), "expected an array [H, W] or [n], got (2, 32, 32)"),
        ],
    )
    def test_an_invalid_mask_file_is_refused(
        self, mask: np.ndarray, message: str, refused: Any, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "mask.npy", mask)
        assert message in refused(f"task.mask={{name='file', path='{tmp_path / 'mask.npy'}'}}")

    def test_a_mask_file_with_pickled_code_is_refused(self, refused: Any, tmp_path: Path) -> None:
        np.save(tmp_path / "mask.npy", np.array([{"a": 1}]), allow_pickle=True)
        assert "cannot be read as a .npy file" in refused(f"task.mask={{name='file', path='{tmp_path / 'mask.npy'}'}}")
