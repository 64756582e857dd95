"""FolderDataset: layouts, division by subject, scaling, resampling."""

from __future__ import annotations

import os
import shutil
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.inventory import inventory_of
from i2ikd_mri.slices import Slices
from i2ikd_mri.volumes import SliceChoice
from PIL import Image

import i2ikd
from i2ikd import BoundedCache, Registry, SampleKey, UserError, hookimpl
from i2ikd.component import Plugin

RNG = np.random.default_rng(5)
STACK = RNG.random((6, 9, 5), dtype=np.float32) * 7


def write(path: Path, values: np.ndarray = STACK, key: str = "volfs", **more: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, content in {key: values, **more}.items():
            file[name] = content
    return path


def names(source: FolderDataset, split: str) -> list[str]:
    return [volume.name for volume in source.volumes(split)]


def fill(root: Path, folders: dict[str, Iterable[str]]) -> Path:
    for folder, files in folders.items():
        for name in files:
            write(root / folder / f"{name}.h5")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fill(tmp_path, {"train": ["s10", "s2", "s1"], "val": ["s3"], "test": ["s4", "s5"]})


class TestLayouts:
    def test_each_split_has_its_folder(self, root: Path) -> None:
        source = FolderDataset(root)
        assert names(source, "train") == ["s1", "s2", "s10"]
        assert names(source, "val") == ["s3"]
        assert names(source, "test") == ["s4", "s5"]
        assert source.volumes("train")[0] is source.volumes("train")[0]

    @pytest.mark.parametrize(
        ("empty", "read"),
        [
            ("skip", lambda source, samples: samples),
            ("refuse", lambda source, samples: samples.shapes),
            ("refuse", lambda source, samples: inventory_of(source, {"train": samples})),
        ],
        ids=["for empty slices", "for sizes", "for the inventory"],
    )
    def test_the_first_reading_of_its_volumes_is_shown(
        self, root: Path, empty: Any, read: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("i2ikd.reading_progress._SILENT", 0.0)
        source = FolderDataset(root, empty=empty)
        samples = Slices(source.volumes("train"), "real", False, BoundedCache(1, policy="refuse"), "train")
        if empty == "refuse":
            capsys.readouterr()  # of the number of slices, which files state
        read(source, samples)
        assert "i2ikd: reading volume 2 of 3, " in capsys.readouterr().err

    def test_kdmri_layout_trains_without_options(self, tmp_path: Path) -> None:
        fill(tmp_path, {"train/acc_4x": ["a", "b"], "validation/acc_4x": ["c", "d", "e"]})
        source = FolderDataset(tmp_path)
        assert names(source, "train") == ["acc_4x/a", "acc_4x/b"]
        assert names(source, "val") == ["acc_4x/c", "acc_4x/d", "acc_4x/e"]
        with pytest.raises(UserError, match=r"no folder for the split 'test'.*splits.*hold_out = 0\.5"):
            source.volumes("test")

    def test_a_test_split_is_held_out_by_subject(self, tmp_path: Path) -> None:
        subjects = [f"p{i}" for i in range(8)]
        fill(tmp_path, {"train": ["x"], "validation/acc_4x": subjects, "validation/acc_8x": subjects})
        source = FolderDataset(tmp_path, hold_out=0.5)
        val = {n.split("/")[1] for n in names(source, "val")}
        test = {n.split("/")[1] for n in names(source, "test")}
        assert (len(val), len(test)) == (4, 4)
        assert val.isdisjoint(test)
        assert len(names(source, "val")) == 8
        assert names(source, "train") == ["x"]
        again = FolderDataset(tmp_path, hold_out=0.5)
        assert names(again, "test") == names(source, "test")

    def test_held_out_splits_come_from_training_subjects(self, tmp_path: Path) -> None:
        fill(tmp_path, {"train": [f"p{i}" for i in range(10)]})
        source = FolderDataset(tmp_path, hold_out=0.4)
        parts = [set(names(source, split)) for split in ("train", "val", "test")]
        assert [len(p) for p in parts] == [6, 2, 2]
        assert len(set.union(*parts)) == 10

    def test_hold_out_changes_nothing_where_folders_exist(self, root: Path) -> None:
        plain, held = FolderDataset(root), FolderDataset(root, hold_out=0.5)
        assert plain.identity() == held.identity()

    def test_a_single_subject_cannot_be_held_out(self, tmp_path: Path) -> None:
        fill(tmp_path, {"train": ["a"], "val": ["b"]})
        with pytest.raises(UserError, match=r"expected at least 2 subjects in 'val' .* got 1"):
            FolderDataset(tmp_path, hold_out=0.5).volumes("test")

    def test_a_folder_without_splits_is_divided_by_subject(self, tmp_path: Path) -> None:
        for subject in range(12):
            for visit in (1, 2):
                write(tmp_path / f"sub-{subject:02d}" / f"visit-{visit}.h5")
        source = FolderDataset(tmp_path, fractions=(0.5, 0.25, 0.25))
        subjects = {s: {n.split("/")[0] for n in names(source, s)} for s in ("train", "val", "test")}
        assert {s: len(p) for s, p in subjects.items()} == {"train": 6, "val": 3, "test": 3}
        assert len(set.union(*subjects.values())) == 12
        assert len(names(source, "test")) == 6

    def test_membership_depends_only_on_names(self, tmp_path: Path) -> None:
        one, other = tmp_path / "one", tmp_path / "other"
        fill(one, {".": [f"p{i}" for i in range(9)]})
        shutil.copytree(one, other)
        write(other / "p0.h5", STACK[:4])
        for split in ("train", "val", "test"):
            assert names(FolderDataset(one), split) == names(FolderDataset(other), split) != []

    def test_a_regular_expression_selects_the_subject(self, tmp_path: Path) -> None:
        frames = [f"patient{p:02d}_frame{f}" for p in range(6) for f in (1, 12)]
        fill(tmp_path, {".": frames})
        source = FolderDataset(tmp_path, subject=r"patient\d+", fractions=(0.5, 0.2, 0.3))
        subjects = [{n[:9] for n in names(source, s)} for s in ("train", "val", "test")]
        assert sum(len(p) for p in subjects) == 6
        assert len(set.union(*subjects)) == 6
        fill(tmp_path / "split", {"train": ["patient01_frame1"], "val": ["patient01_frame12"]})
        with pytest.raises(UserError, match="'patient01' is in both 'train' and 'val'"):
            FolderDataset(tmp_path / "split", subject=r"(patient\d+)_").volumes("train")

    def test_a_volume_has_the_subject_by_which_splits_are_made(self, tmp_path: Path) -> None:
        files = ["acc_4x/patient07_frame01", "acc_4x/patient07_frame12", "acc_8x/patient07_frame01", "sub-2/ses-1/t1"]
        fill(tmp_path, {"train": files})
        found = FolderDataset(tmp_path, subject=r"(patient\d+)_").volumes("train")
        assert {volume.name: volume.subject for volume in found} == dict(zip(files, ["patient07"] * 3 + ["sub-2"]))
        assert {SampleKey.of(volume, 2) for volume in found if "frame" in volume.name} == {
            SampleKey("patient07", name, 2) for name in files[:3]
        }

    def test_the_first_part_of_the_path_is_the_subject_by_default(self, tmp_path: Path) -> None:
        fill(tmp_path, {"train": ["acc_4x/p7", "acc_8x/p7", "acc_4x/p8", "sub-2/ses-1/t1"]})
        subjects = {volume.name: volume.subject for volume in FolderDataset(tmp_path).volumes("train")}
        assert subjects == {"acc_4x/p7": "p7", "acc_8x/p7": "p7", "acc_4x/p8": "p8", "sub-2/ses-1/t1": "sub-2"}

    def test_a_subject_in_two_splits_is_refused_though_no_volume_is(self, tmp_path: Path) -> None:
        fill(tmp_path, {"train": ["sub-1/ses-1"], "test": ["sub-1/ses-2"]})
        with pytest.raises(UserError, match=r"'sub-1' is in both 'train' and 'test'.*set subject.*'sub-1/ses-2'"):
            FolderDataset(tmp_path).volumes("train")
        apart = FolderDataset(tmp_path, subject=r"ses-\d+")
        assert [volume.subject for volume in apart.volumes("test")] == ["ses-2"]
        distinct = FolderDataset(tmp_path, repeated_names="distinct")
        assert [volume.subject for volume in distinct.volumes("test")] == ["test/sub-1"]

    def test_too_few_subjects_or_wrong_fractions_are_refused(self, tmp_path: Path) -> None:
        fill(tmp_path, {".": ["a", "b"]})
        with pytest.raises(UserError, match="too few to divide into 3"):
            FolderDataset(tmp_path).volumes("train")
        with pytest.raises(UserError, match="sum to 1"):
            FolderDataset(tmp_path, fractions=(0.5, 0.1, 0.1)).volumes("train")
        assert len(names(FolderDataset(tmp_path, fractions=(0.5, 0.0, 0.5)), "test")) == 1

    def test_a_name_in_two_splits_is_refused_unless_set_to_distinct(self, root: Path) -> None:
        write(root / "test" / "s2.h5")
        with pytest.raises(UserError, match=r"'s2' is in both 'train' and 'test'.*repeated_names = 'distinct'"):
            FolderDataset(root).volumes("val")
        source = FolderDataset(root, repeated_names="distinct")
        assert names(source, "test") == ["test/s2", "test/s4", "test/s5"]
        assert "train/s2" in names(source, "train")

    def test_folder_names_and_file_patterns_are_options(self, root: Path) -> None:
        fill(root, {"learn/acc_4x": ["q"], "learn/acc_8x": ["q"]})
        source = FolderDataset(root, splits={"train": ["absent", "learn"]}, include="acc_4x/*")
        assert names(FolderDataset(root, splits={"train": ["absent", "learn"]}), "train") == ["acc_4x/q", "acc_8x/q"]
        with pytest.raises(UserError, match="val: no file for the reader"):
            source.volumes("train")

    def test_images_in_a_subfolder_are_one_volume(self, tmp_path: Path) -> None:
        for subject in ("anna", "ben"):
            (tmp_path / "train" / subject).mkdir(parents=True)
            for number in (2, 10, 1):
                image = np.full((6, 9), number * 10, np.uint8)
                Image.fromarray(image).save(tmp_path / "train" / subject / f"{number}.png")
        Image.fromarray(np.full((6, 9), 40, np.uint8)).save(tmp_path / "train" / "single.png")
        np.save(tmp_path / "train" / "ben" / "stack.npy", STACK.transpose(2, 0, 1))
        volumes = FolderDataset(tmp_path, normalise="none", include=["**/*"]).volumes("train")
        lengths = {v.name: len(v) for v in volumes}
        assert lengths == {"anna": 3, "ben": 3, "ben/stack": 5, "single": 1}
        assert [s["image"][0, 0] for s in volumes[0]] == [10, 20, 100]

    def test_hidden_files_and_unknown_suffixes_are_ignored(self, root: Path) -> None:
        (root / "train" / ".hidden.h5").write_text("")
        (root / "train" / "notes.txt").write_text("")
        assert names(FolderDataset(root), "train") == ["s1", "s2", "s10"]


class TestErrors:
    def error_of(self, root: Path, split: str = "train", **options: Any) -> str:
        with pytest.raises(UserError) as caught:
            for volume in FolderDataset(root, **options).volumes(split):
                list(volume)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        assert "no such folder" in self.error_of(tmp_path / "absent")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        assert "no file for the reader" in self.error_of(tmp_path)
        (tmp_path / "train").mkdir()
        (tmp_path / "train" / "v.dat").write_text("")
        assert "got 'v.dat'" in self.error_of(tmp_path)

    def test_an_unknown_split(self, root: Path) -> None:
        assert "did you mean 'train'?" in self.error_of(root, "trian")

    def test_values_that_are_not_finite(self, tmp_path: Path) -> None:
        write(tmp_path / "train" / "v.h5", np.where(STACK > 6, np.nan, STACK))
        for normalise in ("none", "volume"):
            assert "v.h5, dataset 'volfs'" in self.error_of(tmp_path, normalise=normalise)

    def test_a_volume_of_zeros(self, tmp_path: Path) -> None:
        write(tmp_path / "train" / "v.h5", 0 * STACK)
        for normalise in ("none", "volume"):
            assert "'v' is all zero" in self.error_of(tmp_path, normalise=normalise)

    def test_a_volume_without_a_positive_value(self, tmp_path: Path) -> None:
        write(tmp_path / "train" / "v.h5", -1 - STACK)
        for normalise in ("none", "volume"):
            assert "'v': expected an image whose maximum is positive" in self.error_of(tmp_path, normalise=normalise)

    def test_a_missing_dataset_lists_the_stored_ones(self, tmp_path: Path) -> None:
        write(tmp_path / "train" / "v.h5", key="kspace")
        assert "no dataset 'volfs'; it holds 'kspace'" in self.error_of(tmp_path)

    def test_wrong_options(self, root: Path) -> None:
        assert "unknown reader 'niffti'" in self.error_of(root, reader="niffti")
        assert "has no name" in self.error_of(root, reader={"axis": 1})
        assert "unknown option 'axes'" in self.error_of(root, reader={"name": "nifti", "axes": 1})
        assert "expected a regular expression" in self.error_of(root, subject="(")
        assert "pattern below" in self.error_of(root, include="/etc/*")
        assert "expected a suffix of .nii .nii.gz .mgh .mgz .mnc .par .hdr and" in self.error_of(root, reader="nifti")

    @pytest.mark.parametrize(
        "wrong",
        [{"size": [0, 4]}, {"normalise": "max"}, {"slices": {"steps": 2}}, {"volumes": {"tran": 1}}, {"hold_out": 1}],
    )
    def test_options_are_checked_by_the_registry(self, root: Path, wrong: dict[str, Any]) -> None:
        with pytest.raises(UserError, match=next(iter(wrong))):
            i2ikd.create("dataset", "folder", root=str(root), **wrong)


class TestReaders:
    def test_the_registry_creates_it_from_plain_values(self, root: Path) -> None:
        source = i2ikd.create(
            "dataset", "folder", root=str(root), size=[4, 5], slices={"limit": 2}, volumes={"train": 1}
        )
        (volume,) = source.volumes("train")
        assert (volume.name, len(volume), volume[0]["image"].shape) == ("s1", 2, (4, 5))

    def test_complex_files_are_detected_by_content(self, tmp_path: Path) -> None:
        values = (STACK + 2j * STACK).transpose(2, 0, 1).astype(np.complex64)
        write(tmp_path / "train" / "c.h5", values, key="image")
        slice_ = FolderDataset(tmp_path).volumes("train")[0][3]["image"]
        assert slice_.dtype == np.complex64
        np.testing.assert_allclose(slice_, values[3] / np.abs(values).max(), rtol=1e-6)

    def test_a_reader_has_options(self, tmp_path: Path) -> None:
        kspace = np.fft.fft2(STACK, axes=(0, 1)).astype(np.complex64)
        write(tmp_path / "train" / "v.h5", img_volus_4x=STACK / 2, kspace_volus_4x=kspace)
        source = FolderDataset(tmp_path, reader={"name": "kdmri-hdf5", "acceleration": 4})
        fields = source.volumes("train")[0][2]
        largest = STACK.max()
        np.testing.assert_allclose(fields["undersampled"], STACK[:, :, 2] / 2 / largest, rtol=1e-6)
        np.testing.assert_allclose(fields["kspace"], kspace[:, :, 2] / largest, rtol=1e-6)
        resized = FolderDataset(tmp_path, reader={"name": "kdmri-hdf5", "acceleration": 4}, size=(6, 8))
        with pytest.raises(UserError, match="6x9 and its stored k-space cannot be resampled to 6x8"):
            resized.volumes("train")[0][0]
        same = FolderDataset(tmp_path, reader={"name": "kdmri-hdf5", "acceleration": 4}, size=(6, 9))
        np.testing.assert_array_equal(same.volumes("train")[0][2]["kspace"], fields["kspace"])

    def test_a_reader_may_be_a_plain_function_of_the_path(self, root: Path) -> None:
        calls: list[tuple[str, int]] = []

        def read(path: Path, offset: int = 0) -> Any:
            calls.append((path.name, offset))
            return [{"image": np.ones((2, 3), np.float32)}]

        module = types.ModuleType("mine")
        module.register_readers = hookimpl(  # type: ignore[attr-defined]
            lambda register: register("mine", read), specname="register_readers"
        )
        registry = Registry([Plugin("mine", module=module)])
        source = FolderDataset(root, reader={"name": "mine", "offset": 3}, registry=registry)
        assert [len(v) for v in source.volumes("test")] == [1, 1]
        assert calls == [("s4.h5", 3), ("s5.h5", 3)]
        with pytest.raises(UserError, match="unknown option 'ofset'; did you mean 'offset'"):
            FolderDataset(root, reader={"name": "mine", "ofset": 3}, registry=registry).volumes("test")


class TestOpen:
    """One file without a split, for inference."""

    def test_a_file_is_read_with_the_options_of_the_dataset_and_all_slices(self, root: Path, tmp_path: Path) -> None:
        source = FolderDataset(root, size=(4, 9), slices=SliceChoice(limit=1))
        volume = source.open(write(tmp_path / "new.h5"))
        assert (volume.name, len(volume)) == ("new", 5)
        np.testing.assert_array_equal(volume[2]["image"], source.volumes("test")[0][0]["image"])

    def test_new_data_without_an_image_is_scaled_by_the_undersampled_image(self, tmp_path: Path) -> None:
        pair = {"img_volus_4x": STACK, "kspace_volus_4x": 3 * STACK.astype(np.complex64)}
        path = write(tmp_path / "new.h5", 9 * STACK, key="other", **pair)
        volume = FolderDataset(tmp_path, reader={"name": "kdmri-hdf5", "acceleration": 4}).open(path)
        np.testing.assert_allclose(volume[1]["kspace"], 3 * STACK[:, :, 1] / STACK.max(), rtol=1e-6)

    def test_a_folder_of_images_opens_and_an_unknown_suffix_is_refused(self, tmp_path: Path) -> None:
        Image.fromarray(np.full((6, 9), 5, np.uint8)).save(tmp_path / "1.png")
        assert len(FolderDataset(tmp_path).open(tmp_path)) == 1
        with pytest.raises(UserError, match=r"v\.mha: no reader for this suffix"):
            FolderDataset(tmp_path).open(tmp_path / "v.mha")


class TestPrepared:
    def test_construction_and_listing_read_nothing(self, tmp_path: Path) -> None:
        FolderDataset(tmp_path / "absent")
        (tmp_path / "train").mkdir()
        (tmp_path / "train" / "v.nii").write_text("no volume")
        assert names(FolderDataset(tmp_path), "train") == ["v"]

    def test_a_volume_is_divided_by_its_largest_value(self, root: Path) -> None:
        volume = FolderDataset(root).volumes("train")[0]
        np.testing.assert_allclose([s["image"] for s in volume], np.moveaxis(STACK, 2, 0) / STACK.max(), rtol=1e-6)
        assert volume[0]["image"].dtype == np.float32
        raw = FolderDataset(root, normalise="none").volumes("train")[0]
        np.testing.assert_array_equal(raw[4]["image"], STACK[:, :, 4])

    def test_the_scale_does_not_depend_on_the_selected_slices(self, root: Path) -> None:
        few = FolderDataset(root, slices=SliceChoice(limit=1)).volumes("train")[0]
        assert len(few) == 1
        np.testing.assert_allclose(few[0]["image"], STACK[:, :, 2] / STACK.max(), rtol=1e-6)

    @pytest.mark.parametrize(
        ("step", "limit", "length", "expected"),
        [(1, None, 3, [0, 1, 2]), (3, None, 7, [0, 3, 6]), (1, 2, 7, [2, 3]), (2, 2, 9, [2, 4]), (1, 9, 2, [0, 1])],
    )
    def test_slices_are_selected_from_the_middle(
        self, step: int, limit: int | None, length: int, expected: list[int]
    ) -> None:
        assert list(SliceChoice(step=step, limit=limit).indices(length)) == expected

    def test_resampling_goes_through_the_centre_of_kspace(self, root: Path) -> None:
        volume = FolderDataset(root, size=(4, 9), normalise="none").volumes("train")[0]
        spectrum = np.fft.fftshift(np.fft.fft(STACK[:, :, 1], axis=0), axes=0)[1:5]
        expected = np.fft.ifft(np.fft.ifftshift(spectrum, axes=0), axis=0).real * 4 / 6
        np.testing.assert_allclose(volume[1]["image"], expected, atol=1e-5)
        assert volume[1]["image"].dtype == np.float32


REAL = os.environ.get("I2IKD_TEST_DATA")


@pytest.mark.skipif(not REAL, reason="I2IKD_TEST_DATA names no folder of real data")
@pytest.mark.parametrize("folder", ["brain", "cardiac", "knee", "complex"])
def test_real_folders_read(folder: str) -> None:
    root = Path(str(REAL), folder)
    if not root.is_dir():
        pytest.skip(f"I2IKD_TEST_DATA has no folder {folder!r}")
    source = FolderDataset(root, size=(160, 128))
    for split in ("train", "val", "test"):
        assert len(source.volumes(split)) == len(list((root / split).rglob("*.h5")))
    slice_ = source.volumes("test")[0][0]["image"]
    assert slice_.shape == (160, 128)
    assert 0 < np.abs(slice_).max() < 1.2, "1 and the ringing of a corner at most"
