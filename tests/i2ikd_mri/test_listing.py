"""Files of a data set: links, unreadable folders, and names that leave open what a volume or a subject is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.listing import list_files
from PIL import Image

from i2ikd import UserError


def write(path: Path, value: int = 7) -> Path:
    """Write one picture, or one volume of two slices, by the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(np.full((5, 6), value, np.uint8)).save(path)
    else:
        with path.open("wb") as file:
            np.save(file, np.full((2, 5, 6), value, np.float32))
    return path


def names(root: Path, split: str = "train", **options: Any) -> list[str]:
    return [volume.name for volume in FolderDataset(root, **options).volumes(split)]


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        FolderDataset(root, **options).volumes("train")
    return str(caught.value)


def option(message: str, name: str) -> dict[str, str]:
    """Return an option that a message suggests."""
    found = re.search(rf"{name} = '([^']*)'", message)
    assert found, message
    return {name: found[1]}


class TestLinks:
    def test_linked_folders_and_files_are_read(self, tmp_path: Path) -> None:
        write(tmp_path / "other" / "s1" / "t1.npy")
        write(tmp_path / "other" / "s2.npy")
        write(tmp_path / "data" / "train" / "s3.npy")
        (tmp_path / "data" / "train" / "s1").symlink_to(tmp_path / "other" / "s1")
        (tmp_path / "data" / "train" / "s2.npy").symlink_to(tmp_path / "other" / "s2.npy")
        assert names(tmp_path / "data") == ["s1/t1", "s2", "s3"]

    def test_a_broken_link_is_an_error(self, tmp_path: Path) -> None:
        write(tmp_path / "train" / "s1.npy")
        (tmp_path / "train" / "s9.npy").symlink_to("../.git/annex/gone")
        assert "s9.npy: broken symbolic link to '../.git/annex/gone'" in refusal(tmp_path)
        assert names(tmp_path, include="s1*") == ["s1"]

    def test_a_loop_ends_and_is_reported(self, tmp_path: Path) -> None:
        write(tmp_path / "train" / "s1" / "a.npy")
        (tmp_path / "train" / "s1" / "again").symlink_to(tmp_path / "train")
        listing = list_files(tmp_path / "train", ["**/*"], (".npy",))
        assert [path.name for path in listing.files] == ["a.npy"]
        assert listing.passed_over == {"link to a folder above it": [tmp_path / "train" / "s1" / "again"]}

    def test_one_file_in_two_splits_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "train" / "s1.npy")
        (tmp_path / "test").mkdir()
        (tmp_path / "test" / "s2.npy").symlink_to(tmp_path / "train" / "s1.npy")
        assert "'test/s2.npy' and 'train/s1.npy' are links to one file" in refusal(tmp_path)

    def test_an_unreadable_folder_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        closed = write(tmp_path / "train" / "s1" / "a.npy").parent
        scandir = os.scandir

        def refuse(path: Any) -> Any:
            if Path(path) == closed:
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr("os.scandir", refuse)
        assert "s1: the folder cannot be read (Permission denied)" in refusal(tmp_path)


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("**/*", ["a.npy", "x/b1.npy", "x/y/b2.npy"]),
            ("*", ["a.npy"]),
            ("x/*", ["x/b1.npy"]),
            ("**/b?.npy", ["x/b1.npy", "x/y/b2.npy"]),
            ("**/b[13].npy", ["x/b1.npy"]),
            ("**/b[!13].npy", ["x/y/b2.npy"]),
            ("x/**/*.npy", ["x/b1.npy", "x/y/b2.npy"]),
        ],
    )
    def test_patterns_select_as_glob_does(self, tmp_path: Path, pattern: str, expected: list[str]) -> None:
        for name in ("a", "x/b1", "x/y/b2"):
            write(tmp_path / f"{name}.npy")
        found = [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path, [pattern], (".npy",)).files]
        assert (
            found
            == expected
            == sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob(pattern) if p.is_file())
        )

    def test_what_is_passed_over_has_a_reason(self, tmp_path: Path) -> None:
        for name in ("a.npy", ".b.npy", "derivatives/c.npy", "notes/d.npy"):
            write(tmp_path / name)
        (tmp_path / "Thumbs.db").write_text("")
        passed = list_files(tmp_path, ["**/*"], (".npy",)).passed_over
        assert {reason: [path.name for path in paths] for reason, paths in passed.items()} == {
            "hidden": [".b.npy"],
            "no suffix of the reader": ["Thumbs.db"],
            "labels or derived data by the folder's name": ["derivatives"],
        }

    def test_folders_of_labels_are_read_where_a_pattern_names_them(self, tmp_path: Path) -> None:
        for name in ("a.npy", "masks/b.npy"):
            write(tmp_path / name)
        for pattern, expected in (("**/*.npy", ["a.npy"]), ("masks/*", ["b.npy"])):
            assert [path.name for path in list_files(tmp_path, [pattern], (".npy",)).files] == expected


class TestAmbiguities:
    def test_two_files_of_one_stem_are_refused(self, tmp_path: Path) -> None:
        for name in ("a/scan.npy", "a/scan.tif"):
            write(tmp_path / "train" / name)
        write(tmp_path / "train" / "b.npy")
        write(tmp_path / "train" / "b.h5")
        assert "'b.h5' and 'b.npy'" in refusal(tmp_path)

    def test_several_formats_are_refused_with_a_pattern_that_works(self, tmp_path: Path) -> None:
        for subject in range(3):
            write(tmp_path / "train" / f"sub-{subject}" / "anat" / "t1.npy")
        write(tmp_path / "train" / "sub-1" / "report.png")
        message = refusal(tmp_path)
        assert "got 3 .npy ('train/sub-0/anat/t1.npy'), 1 .png ('train/sub-1/report.png')" in message
        assert names(tmp_path, **option(message, "include")) == [f"sub-{n}/anat/t1" for n in range(3)]
        assert len(names(tmp_path, include=["**/*"])) == 4

    @pytest.mark.parametrize(
        "files",
        [("T1.npy", "T2.npy"), ("x_T1w.npy", "x_FLAIR.npy"), ("T1_000.png", "T2_000.png"), ("x.npy", "x_mask.npy")],
    )
    def test_several_images_of_a_subject_are_refused_with_a_pattern_that_works(
        self, tmp_path: Path, files: tuple[str, str]
    ) -> None:
        for subject in (1, 2):
            for name in files:
                write(tmp_path / "train" / f"sub-{subject}" / name)
        message = refusal(tmp_path)
        assert "one kind of image for the subject 'sub-1'" in message
        include = option(message, "include") if files[0] != "x.npy" else {"include": "**/x.npy"}
        assert len(names(tmp_path, **include)) == 2

    def test_the_slices_of_a_volume_are_the_selected_pictures(self, tmp_path: Path) -> None:
        for number in range(3):
            write(tmp_path / "train" / "sub-1" / f"T1_{number}.png", 10 + number)
            write(tmp_path / "train" / "sub-1" / f"T2_{number}.png", 20 + number)
        (volume,) = FolderDataset(tmp_path, include="**/T2*", normalise="none").volumes("train")
        assert [fields["image"][0, 0] for fields in volume] == [20, 21, 22]

    @pytest.mark.parametrize("numbers", ["visit-1 visit-2", "frame01 frame12", "1 2 10"])
    def test_numbers_do_not_make_kinds(self, tmp_path: Path, numbers: str) -> None:
        for number in numbers.split():
            write(tmp_path / "train" / "sub-1" / f"{number}.npy")
        assert len(names(tmp_path)) == len(numbers.split())

    @pytest.mark.parametrize(
        ("stems", "subjects"),
        [
            (["patient01_slice000", "patient01_slice001", "patient02_slice000"], {"patient01", "patient02"}),
            (["p1-003", "p1-004", "p2-001"], {"p1", "p2"}),
            (["anna_frame1", "anna_frame2", "ben_frame1"], {"anna", "ben"}),
            (["BRATS_001_0000", "BRATS_001_0001"], {"BRATS_001"}),
        ],
    )
    def test_a_common_stem_is_refused_with_an_expression_that_works(
        self, tmp_path: Path, stems: list[str], subjects: set[str]
    ) -> None:
        for stem in stems:
            write(tmp_path / "train" / f"{stem}.png")
        message = refusal(tmp_path)
        assert repr(stems[0]) in message and repr(stems[1]) in message
        volumes = FolderDataset(tmp_path, **option(message, "subject")).volumes("train")
        assert {volume.subject for volume in volumes} == subjects
        own = FolderDataset(tmp_path, subject="[^/]+").volumes("train")
        assert {volume.subject for volume in own} == set(stems)

    @pytest.mark.parametrize(
        "stems", ["s01 s02 s10", "site1_sub-01 site1_sub-02", "ixi001 ixi002", "case_0001 case_0002"]
    )
    def test_numbered_subjects_have_no_common_stem(self, tmp_path: Path, stems: str) -> None:
        for stem in stems.split():
            write(tmp_path / "train" / f"{stem}.npy")
        assert names(tmp_path) == stems.split()


class TestStacks:
    """A folder is one volume by the same rule in training and in ``infer``."""

    def test_a_foreign_file_does_not_divide_a_volume_of_pictures(self, tmp_path: Path) -> None:
        for number in range(3):
            write(tmp_path / "train" / "anna" / f"{number}.png")
        (tmp_path / "train" / "anna" / "Thumbs.db").write_text("")
        source = FolderDataset(tmp_path)
        assert [len(volume) for volume in source.volumes("train")] == [3]
        assert source.accepts(tmp_path / "train" / "anna")
        assert len(source.open(tmp_path / "train" / "anna")) == 3

    def test_pictures_of_several_subjects_are_no_volume(self, tmp_path: Path) -> None:
        for name in ("p1_slice0", "p1_slice1", "p2_slice0"):
            write(tmp_path / f"{name}.png")
        assert not FolderDataset(tmp_path, subject=r"p\d").accepts(tmp_path)
        write(tmp_path / "other" / "anna.png")
        write(tmp_path / "other" / "ben.png")
        assert not FolderDataset(tmp_path).accepts(tmp_path / "other")

    def test_pictures_beside_volumes_are_refused(self, tmp_path: Path) -> None:
        for number in (1, 2):
            write(tmp_path / "anna" / f"{number}.png")
            write(tmp_path / "ben" / f"{number}.png")
        write(tmp_path / "anna" / "scan.npy")
        with pytest.raises(UserError, match=r"anna: expected pictures alone.*'1\.png' beside 'scan\.npy'"):
            FolderDataset(tmp_path).accepts(tmp_path / "anna")
        write(tmp_path / "ben" / "more" / "2.png")
        with pytest.raises(UserError, match="beside 'more'"):
            FolderDataset(tmp_path).accepts(tmp_path / "ben")
