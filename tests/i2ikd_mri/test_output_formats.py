"""Names of results: the format of the source where it can be written, refused otherwise before it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from i2ikd_mri.output_formats import WRITTEN, refuse_output, result_name

from i2ikd import UserError


@pytest.mark.parametrize(
    ("source", "real", "complex_"),
    [
        ("a.nii.gz", "a.nii.gz", "a.nii.gz"),
        ("sub.01.NII", "sub.01.NII", "sub.01.NII"),
        ("a.mnc", "a.nii.gz", "a.nii.gz"),
        ("a.PAR", "a.nii.gz", "a.nii.gz"),
        ("a.hdr", "a.nii.gz", "a.nii.gz"),
        ("a.mgz", "a.mgz", "a.nii.gz"),
        ("a.mat", "a.h5", "a.h5"),
        ("a.IMA", "a.dcm", "a.nii.gz"),
        ("a.dcm", "a.dcm", "a.nii.gz"),
        ("a.png", "a.png", "a.png"),
        ("a.other-plugin", "a.h5", "a.h5"),
    ],
)
def test_every_name_of_a_result_can_be_written(source: str, real: str, complex_: str) -> None:
    for name, is_complex in ((real, False), (complex_, True)):
        assert result_name(Path(source), is_complex) == name
        refuse_output(Path(name), Path(source), is_complex, slices=1)


def test_a_folder_has_a_result_of_its_name(tmp_path: Path) -> None:
    for name, file in (("series.1", "x.dcm"), ("pictures.v2", "x.png")):
        source = tmp_path / name
        source.mkdir()
        (source / file).write_bytes(b"")
        assert result_name(source, False) == name
        refuse_output(tmp_path / "out" / name, source, False)
    assert result_name(tmp_path / "series.1", True) == "series.1.nii.gz"
    with pytest.raises(UserError, match="DICOM stores no complex values"):
        refuse_output(tmp_path / "out", tmp_path / "series.1", True)
    with pytest.raises(UserError, match=r"expected a suffix of .*, got '\.v3'"):
        refuse_output(tmp_path / "pictures.v3", tmp_path / "pictures.v2", False)


@pytest.mark.parametrize(
    ("output", "source", "slices", "message"),
    [
        ("x.dcm", "a.nii", None, "expected a DICOM file of one slice as input"),
        ("x.dcm", "a.dcm", 3, "multi-frame DICOM files are not written as DICOM"),
        ("x.png", "a.nii", 3, "expected a volume of 1 slice for a PNG, got 3 slices; write to x for a folder"),
        ("x.mnc", "a.mnc", None, r"got '\.mnc'"),
    ],
)
def test_what_cannot_be_written_is_refused(output: str, source: str, slices: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        refuse_output(Path(output), Path(source), False, slices)


@pytest.mark.parametrize("name", WRITTEN)
def test_complex_values_are_refused_by_formats_without_them(name: str) -> None:
    if name in (".mgh", ".mgz", ".dcm"):
        with pytest.raises(UserError, match="stores no complex values; write"):
            refuse_output(Path(f"x{name}"), Path("a.dcm"), True)
    else:
        refuse_output(Path(f"x{name}"), Path("a.nii"), True)
