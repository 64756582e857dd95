"""``i2ikd infer`` on folders: failures do not stop the rest, results are never overwritten or lost in silence."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from i2ikd.evaluation.infer import Inference

VOLUME = np.random.default_rng(2).random((12, 16, 2)).astype(np.float32)


def nifti(path: Path, volume: np.ndarray = VOLUME) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([2.0, 2, 3, 1])), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two readable volumes, a truncated one between them, and a text file."""
    root = tmp_path / "in"
    nifti(root / "sub-1" / "T1w.nii.gz")
    nifti(root / "sub-10" / "T1w.nii.gz")
    whole = nifti(root / "sub-2" / "T1w.nii.gz").read_bytes()
    (root / "sub-2" / "T1w.nii.gz").write_bytes(whole[: len(whole) // 2])
    (root / "notes.txt").write_text("text")
    return root


@pytest.fixture
def infer(i2ikd: Any, reconstruction: Path) -> Callable[..., Any]:
    def call(source: Path, output: Path, *options: object) -> Any:
        return i2ikd("infer", reconstruction, "--input", source, "--output", output, *options)

    return call


def written(root: Path) -> list[str]:
    """Return the relative paths of all files, temporary ones included."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


GOOD = ["sub-1/T1w.nii.gz", "sub-10/T1w.nii.gz"]


class TestFailures:
    def test_a_broken_file_does_not_stop_the_others(self, infer: Any, folder: Path, tmp_path: Path) -> None:
        answer = infer(folder, tmp_path / "out")
        assert answer.code == 2
        assert written(tmp_path / "out") == GOOD
        broken = folder / "sub-2" / "T1w.nii.gz"
        first, last = answer.err.splitlines()
        assert first.startswith(f"failed: {broken}: the file is damaged or truncated")
        assert last.startswith("i2ikd: error: 1 of 3 volumes failed, listed above")
        lines = answer.out.splitlines()
        assert lines[0] == "3 volumes to compute"
        assert lines[1] == f"passed over: 1 (not read by the task), e.g. {folder / 'notes.txt'}"
        assert lines[-1] == "2 written, 0 skipped, 1 failed"
        assert "[3/3, " in lines[-2] and lines[-2].endswith("0:00 left]"), "in natural order: sub-10 is the last"

    def test_the_listing_as_json_has_every_volume(self, infer: Any, folder: Path, tmp_path: Path) -> None:
        nifti(tmp_path / "out" / "sub-1" / "T1w.nii.gz")
        answer = infer(folder, tmp_path / "out", "--skip-existing", "--json")
        assert answer.code == 2
        document = json.loads(answer.out)
        inputs = {
            name: [Path(row["input"]).parent.name for row in document[name]] for name in document if name[0] != "p"
        }
        assert inputs == {"written": ["sub-10"], "skipped": ["sub-1"], "failed": ["sub-2"]}
        assert document["failed"][0]["reason"].startswith("the file is damaged or truncated")
        assert document["passed_over"] == [str(folder / "notes.txt")]
        (row,) = document["written"]
        assert (row["slices"], row["size"]) == (2, [12, 16])
        assert row["simulated"][0].startswith("k-space from magnitude images; mask variable-density applied")

    def test_a_slice_that_the_network_cannot_take_is_one(
        self, infer: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Inference._run

        def refuse_narrow(self: Inference, batch: Any) -> Any:
            if batch.input.shape[-1] < 10:
                raise RuntimeError("kernel size\ncan't be greater")
            return run(self, batch)

        monkeypatch.setattr(Inference, "_run", refuse_narrow)
        narrow = nifti(folder / "narrow.nii", VOLUME[:, :7])
        answer = infer(folder, tmp_path / "out")
        expected = "slice 0: DCCNN cannot take an input of [1, 12, 7]: RuntimeError: kernel size can't be greater"
        assert f"failed: {narrow}: {expected}\n" in answer.err
        assert written(tmp_path / "out") == GOOD

    def test_a_full_disk_stops_all(
        self, infer: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*arguments: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("nibabel.save", full)
        answer = infer(folder, tmp_path / "out")
        target = tmp_path / "out" / "sub-1" / "T1w.nii.gz"
        assert answer.code == 2 and answer.out.splitlines()[-1] == "0 written, 0 skipped, 0 failed"
        assert answer.err == f"i2ikd: error: {target}: cannot be written: [Errno 28] No space left on device\n"
        assert written(tmp_path / "out") == [], "messages and folders have no temporary names"

    def test_links_are_followed_and_broken_ones_fail(self, infer: Any, folder: Path, tmp_path: Path) -> None:
        (folder / "sub-2" / "T1w.nii.gz").unlink()
        nifti(tmp_path / "elsewhere" / "deep" / "T2w.nii.gz")
        (folder / "linked").symlink_to(tmp_path / "elsewhere")
        (folder / "sub-1" / "loop").symlink_to(folder)
        (folder / "gone.nii").symlink_to("nowhere.nii")
        answer = infer(folder, tmp_path / "out")
        assert written(tmp_path / "out") == ["linked/deep/T2w.nii.gz", *GOOD]
        assert answer.err.splitlines()[0] == f"failed: {folder / 'gone.nii'}: broken link to 'nowhere.nii'"

    def test_folders_of_labels_are_passed_over_as_in_training(self, infer: Any, folder: Path, tmp_path: Path) -> None:
        nifti(folder / "derivatives" / "sub-1" / "mask.nii.gz")
        answer = infer(folder, tmp_path / "out")
        assert f"passed over: 2 (not read by the task), e.g. {folder / 'derivatives'}" in answer.out
        assert written(tmp_path / "out") == GOOD


class TestExistingResults:
    def test_are_skipped_on_request(self, infer: Any, folder: Path, tmp_path: Path) -> None:
        output = tmp_path / "out"
        before = nifti(output / "sub-1" / "T1w.nii.gz", np.zeros_like(VOLUME)).read_bytes()
        assert infer(folder, output).error.startswith(f"{output / GOOD[0]} exists already (1 of 3 results do); ")
        answer = infer(folder, output, "--skip-existing")
        assert answer.out.splitlines()[0] == "2 volumes to compute; 1 skipped: results exist"
        assert (output / "sub-1" / "T1w.nii.gz").read_bytes() == before
        assert written(output) == GOOD
        single = infer(folder / "sub-1" / "T1w.nii.gz", output / GOOD[0], "--skip-existing")
        assert (single.code, single.out) == (0, f"{output / GOOD[0]} exists: skipped\n")

    def test_force_and_skip_contradict(self, infer: Any, folder: Path, tmp_path: Path) -> None:
        assert "got both" in infer(folder, tmp_path / "out", "--force", "--skip-existing").error

    def test_of_another_program_are_not_overwritten(
        self, infer: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target, save = tmp_path / "out.nii", nibabel.save

        def save_twice(image: Any, path: Path) -> None:
            save(image, path)
            target.write_text("by another program")

        monkeypatch.setattr("nibabel.save", save_twice)
        assert f"{target} exists by now" in infer(folder / "sub-1" / "T1w.nii.gz", target).error
        assert target.read_text() == "by another program"

    def test_a_folder_of_more_pictures_is_not_mixed_with_the_result(
        self, infer: Any, folder: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "pictures"
        source = folder / "sub-1" / "T1w.nii.gz"
        assert infer(source, output).code == 0
        (output / "slice-002.png").write_text("of an earlier result")
        error = infer(source, output, "--force").error
        assert error == f"{output}: the folder holds files that are not replaced, such as slice-002.png; remove them"


class TestNames:
    @pytest.mark.parametrize("output", ["x.mnc", "x.par", "x.hdr", "x.jpg", "x.dcm"])
    def test_an_ending_that_is_not_written_is_refused_before_anything_is_computed(
        self, infer: Any, folder: Path, tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Inference, "__call__", None)
        error = infer(folder / "sub-1" / "T1w.nii.gz", tmp_path / output).error
        expected = "a DICOM file of one slice as input" if output == "x.dcm" else "a suffix of .h5, .nii, .nii.gz"
        assert error.startswith(f"{tmp_path / output}: expected {expected}")
        assert not (tmp_path / output).exists()

    def test_a_picture_of_several_slices_is_refused_before_anything_is_computed(
        self, infer: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Inference, "_run", None)
        error = infer(folder / "sub-1" / "T1w.nii.gz", tmp_path / "x.png").error
        start = f"{tmp_path / 'x.png'}: expected a volume of 1 slice for a PNG, got 2 slices; write to "
        assert error == f"{start}{tmp_path / 'x'} for a folder of PNGs"

    def test_two_volumes_with_one_result_are_refused_before_anything_is_computed(
        self, infer: Any, folder: Path, tmp_path: Path
    ) -> None:
        nifti(folder / "sub-1" / "T1w.nii")
        assert infer(folder, tmp_path / "out").code == 2
        assert written(tmp_path / "out") == ["sub-1/T1w.nii", *GOOD], "by default they differ"
        error = infer(folder, tmp_path / "other", "--suffix", ".h5").error
        assert error == (
            f"{folder}/sub-1/T1w.nii.gz has the result T1w.h5, as sub-1/T1w.nii has; rename one, or process them apart"
        )
        assert not (tmp_path / "other").exists()

    def test_formats_that_are_read_only_are_written_as_nifti(self, infer: Any, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        nibabel.save(nibabel.Nifti1Pair(VOLUME, np.diag([2.0, 3, 4, 1])), tmp_path / "in" / "a.hdr")
        np.save(tmp_path / "in" / "b.npy", np.moveaxis(VOLUME, -1, 0))
        assert infer(tmp_path / "in", tmp_path / "out").code == 0
        assert written(tmp_path / "out") == ["a.nii.gz", "b.npy"]
        np.testing.assert_array_equal(nibabel.load(tmp_path / "out" / "a.nii.gz").affine, np.diag([2.0, 3, 4, 1]))

    def test_a_suffix_is_for_folders(self, infer: Any, folder: Path, tmp_path: Path) -> None:
        source = folder / "sub-1" / "T1w.nii.gz"
        assert "is one volume; state it in --output" in infer(source, tmp_path / "x.h5", "--suffix", ".h5").error
        assert "starts with a dot" in infer(folder, tmp_path / "x", "--suffix", "h5").error
        assert "got '.jpg'" in infer(folder, tmp_path / "x", "--suffix", ".jpg").error

    def test_an_input_is_never_a_result(self, infer: Any, folder: Path) -> None:
        before = nifti(folder / "T2w.nii").read_bytes()
        error = infer(folder, folder, "--suffix", ".nii", "--force").error
        assert error == f"{folder / 'T2w.nii'}: input and output are the same file; choose another output"
        assert (folder / "T2w.nii").read_bytes() == before


def test_ctrl_c_leaves_whole_results_and_prints_how_to_continue(
    infer: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls = Inference._run, []

    def interrupted(self: Inference, batch: Any) -> Any:
        calls.append(batch)
        if len(calls) == 4:  # the second slice of the second volume
            raise KeyboardInterrupt
        return run(self, batch)

    (folder / "sub-2" / "T1w.nii.gz").unlink()
    monkeypatch.setattr(Inference, "_run", interrupted)
    monkeypatch.setattr("sys.argv", ["i2ikd", "infer", "RUN", "--input", "a folder"])
    answer = infer(folder, tmp_path / "out")
    assert answer.code == 130
    assert answer.err == (
        "i2ikd: stopped; 1 of 2 results are written, all of them whole. Continue with: "
        "i2ikd infer RUN --input 'a folder' --skip-existing\n"
    )
    assert written(tmp_path / "out") == GOOD[:1]
    assert nibabel.load(tmp_path / "out" / GOOD[0]).shape == VOLUME.shape
    monkeypatch.setattr(Inference, "_run", run)
    assert infer(folder, tmp_path / "out", "--skip-existing").code == 0
    assert written(tmp_path / "out") == GOOD
