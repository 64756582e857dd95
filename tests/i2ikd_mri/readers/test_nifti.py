"""NIfTI files are sliced along any axis, decompressed once, and refused in one line."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from i2ikd_mri.readers.nifti import NiftiReader

RNG = np.random.default_rng(3)
STACK = RNG.random((6, 9, 4), dtype=np.float32)  # H, W, slices: no two alike


class TestNifti:
    AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])

    def write(self, path: Path, values: np.ndarray) -> Path:
        nibabel.save(nibabel.Nifti1Image(values, self.AFFINE), path)
        return path

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_any_axis_can_be_the_slice_axis(self, tmp_path: Path, suffix: str, axis: int) -> None:
        volume = NiftiReader(axis=axis)(self.write(tmp_path / f"sub-01.T2{suffix}", STACK))
        assert volume.name == "sub-01.T2"
        assert len(volume) == STACK.shape[axis]
        for index in (2, 0):
            np.testing.assert_array_equal(volume[index]["image"], STACK.take(index, axis))
        np.testing.assert_array_equal(volume.affine, self.AFFINE)

    def test_scaled_integers_are_converted_to_values(self, tmp_path: Path) -> None:
        image = nibabel.Nifti1Image((STACK * 1000).astype(np.int16), self.AFFINE)
        image.header.set_slope_inter(0.5, 10)
        nibabel.save(image, tmp_path / "v.nii")
        stored = np.asarray(nibabel.load(tmp_path / "v.nii").get_fdata())
        np.testing.assert_allclose(NiftiReader()(tmp_path / "v.nii")[1]["image"], stored[:, :, 1], rtol=1e-6)

    def test_a_series_needs_a_frame(self, tmp_path: Path, message: Callable[..., str]) -> None:
        series = np.stack([STACK, STACK + 1], axis=3)
        for path in (self.write(tmp_path / "s.nii", series), self.write(tmp_path / "s.nii.gz", series)):
            assert "frame = 0" in message(NiftiReader(), path)
            assert "no frame 2" in message(NiftiReader(frame=2), path)
            np.testing.assert_array_equal(NiftiReader(frame=1)(path)[2]["image"], STACK[:, :, 2] + 1)

    def test_a_compressed_file_is_decompressed_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.write(tmp_path / "v.nii.gz", STACK)
        volume = NiftiReader()(path)
        len(volume)
        starts = []
        real = gzip.GzipFile.__init__
        monkeypatch.setattr(gzip.GzipFile, "__init__", lambda self, *a, **k: starts.append(1) or real(self, *a, **k))
        for _ in range(2):
            assert len(list(volume)) == 4
        assert len(starts) <= 1
        copy = pickle.loads(pickle.dumps(volume))
        np.testing.assert_array_equal(copy[3]["image"], STACK[:, :, 3])

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, suffix: str, message: Callable[..., str]) -> None:
        path = self.write(tmp_path / f"v{suffix}", RNG.random((20, 30, 10)))
        path.write_bytes(path.read_bytes()[:5000])
        assert "truncated" in message(NiftiReader(), path, 9)

    def test_a_file_that_is_not_nifti_is_refused(self, tmp_path: Path, message: Callable[..., str]) -> None:
        path = tmp_path / "v.nii"
        path.write_bytes(bytes(500))
        assert "not a NIfTI" in message(NiftiReader(), path)
        assert "no such file" in message(NiftiReader(), tmp_path / "absent.nii")
