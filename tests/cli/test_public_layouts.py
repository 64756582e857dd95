"""The commands for public layouts on the page about own data run, and print what the page states."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from i2ikd_mri.phantom import PhantomDataset

PAGE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text("utf-8")
HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>64</x><y>36</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>32</x><y>32</y><z>1</z></matrixSize></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>35</maximum><center>18</center>
</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""


def heads(seed: int, slices: int, size: tuple[int, int], complex_valued: bool = False) -> np.ndarray:
    dataset = PhantomDataset(train=1, slices=slices, size=size, seed=seed, complex_valued=complex_valued)
    (volume,) = dataset.volumes("train")
    return np.stack([fields["image"] for fields in volume])


def fastmri(root: Path) -> None:
    """Single-coil files of oversampled k-space; those of the test folder are undersampled and have a mask."""
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for number in range(count):
            path = root / f"singlecoil_{split}" / f"file{split}{number}.h5"
            path.parent.mkdir(parents=True, exist_ok=True)
            images = heads(number, 2, (64, 36), complex_valued=True)
            kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, (1, 2)), norm="ortho"), (1, 2))
            mask = np.arange(36) % 4 == 2
            with h5py.File(path, "w") as file:
                file["ismrmrd_header"] = HEADER
                file["kspace"] = (kspace * mask if split == "test" else kspace).astype(np.complex64)
                if split == "test":
                    file["mask"] = mask


def bids(root: Path) -> None:
    """Two contrasts of six subjects, one of them in two sessions, sagittal and with derivatives."""
    for number in range(6):
        for session in ("", "ses-1", "ses-2") if number == 2 else ("",):
            if number == 2 and not session:
                continue
            folder = root / f"sub-{number:02d}" / session / "anat"
            folder.mkdir(parents=True)
            stem = f"sub-{number:02d}" + (f"_{session}" if session else "")
            axial = np.round(heads(number, 4, (40, 36)) * 1000).astype(np.int16)
            # Stored axes: to the left, to anterior, to superior.
            stored = axial.transpose(2, 1, 0)[:, ::-1]
            for contrast in ("T1w", "T2w"):
                image = nibabel.Nifti1Image(np.ascontiguousarray(stored), np.diag([-1.0, 1, 5, 1]))
                nibabel.save(image, folder / f"{stem}_{contrast}.nii.gz")
            (folder / f"{stem}_T1w.json").write_text(json.dumps({"RepetitionTime": 2}))
    (root / "dataset_description.json").write_text("{}")
    derived = root / "derivatives" / "seg" / "sub-00" / "anat"
    derived.mkdir(parents=True)
    (derived / "sub-00_T1w.nii.gz").write_bytes(b"")


@pytest.mark.parametrize(("name", "write"), [("fastmri", fastmri), ("bids", bids)])
def test_a_ready_command_reads_its_layout(i2ikd: Any, tmp_path: Path, name: str, write: Any) -> None:
    pattern = rf"```console\n(i2ikd compare experiment\.toml --out runs/{name} .*)\n```\n\n```text\n((?:.*\n)+?)```"
    ((command, expected),) = re.findall(pattern, PAGE)
    write(tmp_path / name)
    assert i2ikd("init", tmp_path / "experiment.toml").code == 0
    words = [word.replace(f"/path/to/{name}", str(tmp_path / name)) for word in shlex.split(command)]
    options = words[words.index(f"runs/{name}") + 1 :]
    result = i2ikd("data", tmp_path / "experiment.toml", *options)
    assert result.code == 0, result.err
    assert result.out == expected
