"""Layouts of public raw data: Calgary-Campinas, SKM-TEA and M4Raw, as their own code reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.readers.calgary import CalgaryCampinasReader
from i2ikd_mri.readers.raw_kspace import image_of
from i2ikd_mri.readers.skm_tea import SkmTeaReader

import i2ikd
from i2ikd import UserError

RNG = np.random.default_rng(21)
SLICES, COILS, HEIGHT, WIDTH = 3, 2, 10, 8


def random(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(np.complex64)


def written(path: Path, **datasets: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/").replace("_point_", ".")] = values
    return path


class TestCalgaryCampinas:
    """The challenge combines channels [..., 0::2] + 1j * [..., 1::2] and transforms them without shifts."""

    def file(self, path: Path, kspace: np.ndarray) -> Path:
        """Write k-space [slices, H, W, coils]."""
        stored = np.empty((*kspace.shape[:-1], 2 * kspace.shape[-1]), np.float32)
        stored[..., ::2], stored[..., 1::2] = kspace.real, kspace.imag
        return written(path, kspace=stored)

    @pytest.mark.parametrize("width", [8, 7])
    def test_images_are_those_of_the_challenge(self, tmp_path: Path, width: int) -> None:
        kspace = random(SLICES, HEIGHT, width, COILS)
        volume = CalgaryCampinasReader()(self.file(tmp_path / "e1.7.h5", kspace))
        assert (volume.name, len(volume), volume.coils) == ("e1.7", SLICES, COILS)
        reference = np.fft.ifft2(kspace, axes=(1, 2), norm="ortho")
        images = np.stack([image_of(fields["kspace"]) for fields in volume])
        np.testing.assert_allclose(np.abs(images), np.abs(np.moveaxis(reference, -1, 1)), atol=1e-5)
        combined = CalgaryCampinasReader("rss")(tmp_path / "e1.7.h5")
        expected = np.sqrt((np.abs(reference) ** 2).sum(-1))
        np.testing.assert_allclose([fields["image"] for fields in combined], expected, atol=1e-5)

    def test_zero_frequency_is_in_the_centre_and_the_image_is_smooth(self, tmp_path: Path) -> None:
        kspace = np.zeros((1, HEIGHT, WIDTH, 1), np.complex64)
        kspace[0, HEIGHT // 2, WIDTH // 2] = np.sqrt(HEIGHT * WIDTH)
        (fields,) = CalgaryCampinasReader()(self.file(tmp_path / "v.h5", np.where(kspace == 0, 1e-9, kspace)))
        np.testing.assert_allclose(fields["image"], np.ones((HEIGHT, WIDTH)), atol=1e-5)

    def test_zeros_within_are_undersampling_and_lines_at_the_edge_are_not(self, tmp_path: Path) -> None:
        kspace = random(1, HEIGHT, WIDTH, COILS)
        kspace[:, :, 6:] = 0
        path = self.file(tmp_path / "full.h5", kspace)
        assert sorted(CalgaryCampinasReader()(path)[0]) == ["kspace"]
        measured = RNG.random((HEIGHT, WIDTH)) < 0.5
        path = self.file(tmp_path / "test.h5", kspace * measured[None, :, :, None])
        np.testing.assert_array_equal(CalgaryCampinasReader()(path)[0]["mask"], (kspace[0] != 0).any(-1) & measured)
        with pytest.raises(UserError, match="expected fully sampled k-space for coils = 'rss'"):
            CalgaryCampinasReader("rss")(path)[0]

    @pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 8, 5), (0, 8, 8, 4)])
    def test_other_layouts_are_refused(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        path = written(tmp_path / "v.h5", kspace=np.ones(shape, np.float32))
        with pytest.raises(UserError, match=r"expected real values \[slices, H, W, 2 coils\]"):
            len(CalgaryCampinasReader()(path))


class TestSkmTea:
    ECHOES = 2

    def file(self, path: Path, **more: np.ndarray) -> tuple[Path, dict[str, np.ndarray]]:
        arrays = {
            "kspace": random(SLICES, HEIGHT, WIDTH, self.ECHOES, COILS),
            "maps": random(SLICES, HEIGHT, WIDTH, COILS, 1),
            "target": random(SLICES, HEIGHT, WIDTH, self.ECHOES, 1),
            **more,
        }
        return written(path, **arrays), arrays

    @pytest.mark.parametrize("echo", [0, 1])
    def test_fields_have_the_axes_of_a_slice(self, tmp_path: Path, echo: int) -> None:
        path, arrays = self.file(tmp_path / "MTR_001.h5")
        volume = SkmTeaReader(echo=echo)(path)
        assert (volume.name, len(volume), volume.coils) == ("MTR_001", SLICES, COILS)
        fields = volume[2]
        assert sorted(fields) == ["image", "kspace", "maps"]
        np.testing.assert_array_equal(fields["image"], arrays["target"][2, :, :, echo, 0])
        for coil in range(COILS):
            np.testing.assert_array_equal(fields["kspace"][coil], arrays["kspace"][2, :, :, echo, coil])
            np.testing.assert_array_equal(fields["maps"][coil], arrays["maps"][2, :, :, coil, 0])

    def test_a_stored_mask_is_padded_and_applied(self, tmp_path: Path) -> None:
        stored = RNG.random((6, 4)) < 0.5
        path, arrays = self.file(tmp_path / "v.h5", masks__poisson_6_point_0x=stored)
        fields = SkmTeaReader(acceleration=6)(path)[1]
        expected = np.pad(stored, 2).astype(np.float32)
        np.testing.assert_array_equal(fields["mask"], expected)
        np.testing.assert_array_equal(fields["kspace"][1], arrays["kspace"][1, :, :, 0, 1] * expected)
        with pytest.raises(UserError, match=r"no dataset 'masks/poisson_8.0x'; it holds .*'masks/poisson_6.0x'"):
            SkmTeaReader(acceleration=8)(path)[1]

    def test_the_target_alone_serves_tasks_of_one_image(self, tmp_path: Path) -> None:
        for split in ("train", "val", "test"):
            self.file(tmp_path / split / f"MTR_{split}.h5")
        dataset: dict[str, Any] = {"name": "folder", "root": tmp_path}
        with pytest.raises(UserError, match=r"got 2 coils; .* or read its reconstruction: reader = .*'target'"):
            i2ikd.create("task", "mri-recon", dataset=dataset).dataset("val")
        dataset["reader"] = {"name": "skm-tea", "source": "target"}
        task = i2ikd.create("task", "mri-recon", dataset=dataset, mode="complex")
        assert task.dataset("val")[0].target.shape == (2, HEIGHT, WIDTH)

    @pytest.mark.parametrize(
        ("changed", "expected"),
        [
            ({"target": np.ones((3, 10, 8, 2), "c8")}, r"expected complex values \[x, y, z, echoes, maps\]"),
            ({"kspace": np.ones((3, 10, 8, 2, 2), "f4")}, r"expected complex values \[x, ky, kz, echoes, coils\]"),
            ({"kspace": np.ones((3, 10, 8, 1, 2), "c8")}, "no echo 1"),
        ],
    )
    def test_other_layouts_are_refused(self, tmp_path: Path, changed: dict[str, np.ndarray], expected: str) -> None:
        path, _ = self.file(tmp_path / "v.h5", **changed)
        with pytest.raises(UserError, match=expected):
            len(SkmTeaReader(echo=1)(path))


class TestM4Raw:
    """fastMRI's layout; repetitions and contrasts of a subject are files: 2022061003_T201.h5."""

    HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
    <encodedSpace><matrixSize><x>10</x><y>8</y><z>1</z></matrixSize></encodedSpace>
    <reconSpace><matrixSize><x>10</x><y>8</y><z>1</z></matrixSize></reconSpace>
    <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>7</maximum><center>4</center>
    </kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""

    def tree(self, root: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        images = {}
        for number, split in enumerate(("train", "val", "test")):
            for name in names:
                subject = f"202206100{number}_{name}"
                images[subject] = RNG.random((SLICES, HEIGHT, WIDTH), dtype=np.float32)
                path = root / f"multicoil_{split}" / f"{subject}.h5"
                written(path, kspace=random(SLICES, 4, HEIGHT, WIDTH), reconstruction_rss=images[subject])
                with h5py.File(path, "a") as file:
                    file["ismrmrd_header"] = self.HEADER
        return images

    def test_repetitions_are_volumes_of_a_subject(self, tmp_path: Path) -> None:
        images = self.tree(tmp_path, ("T201", "T202", "T203"))
        reader = {"name": "fastmri", "source": "reconstruction"}
        with pytest.raises(UserError, match=r"parts of '2022061000'; .* set subject = '\(\[\^/\]\+\)_T\\d\+'"):
            FolderDataset(tmp_path, reader=reader).volumes("train")
        volumes = FolderDataset(tmp_path, reader=reader, subject=r"([^/]+)_T\d+", normalise="none").volumes("train")
        assert [(volume.subject, volume.name) for volume in volumes] == [
            ("2022061000", f"2022061000_T20{number}") for number in (1, 2, 3)
        ]
        for volume in volumes:
            np.testing.assert_array_equal([f["image"] for f in volume], images[volume.name])

    def test_contrasts_of_a_subject_need_a_choice(self, tmp_path: Path) -> None:
        self.tree(tmp_path, ("T101", "T102", "T201"))
        options: dict[str, Any] = {"reader": {"name": "fastmri", "source": "reconstruction"}, "subject": r"\d{10}"}
        with pytest.raises(UserError, match=r"expected one kind of image for the subject .* with include = '.*T1"):
            FolderDataset(tmp_path, **options).volumes("train")
        assert len(FolderDataset(tmp_path, include="*_T1*", **options).volumes("train")) == 2
