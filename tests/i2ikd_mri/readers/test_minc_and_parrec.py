"""MINC and PAR/REC files, written by their definition, are read with values, orientation, spacing and axis order.

No library in Python writes these formats: MINC 1 is netCDF (scipy), MINC 2 is HDF5 (h5py), PAR/REC a table and bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.readers.nifti import NiftiReader, Plane
from i2ikd_mri.single_file import write_volume
from nibabel.parrec import image_def_dtds
from scipy.io import netcdf_file

from i2ikd import Volume

RNG = np.random.default_rng(31)
SIZES = {"zspace": 4, "yspace": 9, "xspace": 6}
STEPS = {"zspace": 2.5, "yspace": -1.5, "xspace": 0.75}
STARTS = {"zspace": 10.0, "yspace": 20.0, "xspace": -30.0}
STORED = RNG.integers(0, 4000, tuple(SIZES.values())).astype(np.int16)
HIGHEST = np.array([4000.0, 2000.0, 1000.0, 8000.0])
"""Value of the stored number 4000 in each slice."""


def stacked(volume: Volume) -> np.ndarray:
    """Return all slices, [H, W, slices]."""
    return np.stack([volume[index]["image"] for index in range(len(volume))], -1)


def minc1(path: Path) -> Path:
    with netcdf_file(path, "w") as file:
        for name, length in SIZES.items():
            file.createDimension(name, length)
            variable = file.createVariable(name, "i", ())
            variable.spacing, variable.step, variable.start = b"regular__", STEPS[name], STARTS[name]
        image = file.createVariable("image", "h", tuple(SIZES))
        image[:] = STORED
        image.signtype, image.valid_range = b"signed__", np.array([0.0, 4000.0])
        for name, values in (("image-min", np.zeros(4)), ("image-max", HIGHEST)):
            file.createVariable(name, "d", ("zspace",))[:] = values
    return path


def minc2(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("minc-2.0")
        for name, length in SIZES.items():
            attributes = group.create_dataset(f"dimensions/{name}", data=0).attrs
            attributes["spacing"], attributes["length"] = np.bytes_("regular__"), length
            attributes["step"], attributes["start"] = STEPS[name], STARTS[name]
        image = group.create_dataset("image/0/image", data=STORED)
        image.attrs["dimorder"], image.attrs["valid_range"] = np.bytes_(",".join(SIZES)), [0.0, 4000.0]
        for name, values in (("image-min", np.zeros(4)), ("image-max", HIGHEST)):
            group.create_dataset(f"image/0/{name}", data=values).attrs["dimorder"] = np.bytes_("zspace")
    return path


@pytest.mark.parametrize("write", [minc1, minc2])
@pytest.mark.parametrize("plane", [None, "axial"])
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nibabel leaves .mnc files open
def test_minc_has_the_values_and_places_of_its_definition(
    tmp_path: Path, write: Callable[[Path], Path], plane: Plane | None
) -> None:
    """Stored axes are z, y, x; y runs to posterior. Voxel (z, y, x) is at start + step * index on each axis."""
    volume = NiftiReader(axis=None if plane else 0, plane=plane)(write(tmp_path / "v.mnc"))
    values = STORED / 4000 * HIGHEST[:, None, None]
    z, y, x = 3, 7, 2
    expected_place = [
        STARTS[name] + STEPS[name] * index for name, index in (("xspace", x), ("yspace", y), ("zspace", z))
    ]
    assert (volume.name, len(volume)) == ("v", 4)
    if plane:
        # Rows run to posterior, as y does; columns to the left, against x.
        np.testing.assert_allclose(volume[z]["image"], values[z, :, ::-1], rtol=1e-6)
        index = [y, SIZES["xspace"] - 1 - x, z, 1]
    else:
        np.testing.assert_allclose(volume[z]["image"], values[z], rtol=1e-6)
        index = [z, y, x, 1]
    np.testing.assert_allclose((volume.affine @ index)[:3], expected_place)
    write_volume(stacked(volume), tmp_path / "out.nii.gz", volume)
    result = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(np.asarray(result.dataobj), values, rtol=1e-6)
    np.testing.assert_allclose((result.affine @ [z, y, x, 1])[:3], expected_place, atol=1e-5)


WIDTH, HEIGHT, SLICES = 6, 9, 4
SPACING, THICKNESS, GAP = (0.8, 1.2), 2.0, 0.5
OFFSET = (11.0, -7.0, 3.0)
"""Place of the centre: to anterior-posterior, feet-head and right-left, in millimetres."""
PIXELS = RNG.integers(0, 4000, (SLICES, HEIGHT, WIDTH)).astype("<u2")


def parrec(path: Path) -> Path:
    """Write transverse slices, in the order 4, 2, 1, 3, with slope 2 and intercept -10."""
    general = {
        "Patient name": "x",
        "Max. number of slices/locations": SLICES,
        "Max. number of dynamics": 1,
        "Max. number of echoes": 1,
        "Max. number of cardiac phases": 1,
        "Max. number of mixes": 1,
        "Patient position": "Head First Supine",
        "Preparation direction": "Right-Left",
        "Technique": "FFE",
        "Scan resolution  (x, y)": f"{WIDTH} {HEIGHT}",
        "Scan mode": "MS",
        "Repetition time [ms]": "100",
        "FOV (ap,fh,rl) [mm]": f"{HEIGHT * SPACING[1]} {SLICES * (THICKNESS + GAP)} {WIDTH * SPACING[0]}",
        "Angulation midslice(ap,fh,rl)[degr]": "0 0 0",
        "Off Centre midslice(ap,fh,rl) [mm]": " ".join(map(str, OFFSET)),
        "Max. number of diffusion values": 1,
        "Max. number of gradient orients": 1,
        "Number of label types   <0=no ASL>": 0,
    }
    order = [3, 1, 0, 2]
    lines = []
    for place, number in enumerate(order):
        chosen = {
            "slice number": number + 1,
            "echo number": 1,
            "dynamic scan number": 1,
            "cardiac phase number": 1,
            "index in REC file": place,
            "image pixel size": 16,
            "recon resolution": (WIDTH, HEIGHT),
            "rescale intercept": -10.0,
            "rescale slope": 2.0,
            "scale slope": 1.0,
            "image offcentre": OFFSET,
            "slice thickness": THICKNESS,
            "slice gap": GAP,
            "slice orientation": 1,
            "pixel spacing": SPACING,
            "diffusion b value number": 1,
            "gradient orientation number": 1,
        }
        words: list[str] = []
        for name, _, *shape in image_def_dtds["V4.2"]:
            count = int(np.prod(shape[0])) if shape else 1
            words += map(str, np.atleast_1d(chosen.get(name, [0] * count)).tolist())
        lines.append(" ".join(words))
    head = "# === DATA DESCRIPTION FILE ===\n#\n# CLINICAL TRYOUT  Research image export tool  V4.2\n#\n"
    table = "".join(f".    {name}   :   {value}\n" for name, value in general.items())
    definition = "#\n# === IMAGE INFORMATION ===\n#\n"
    path.write_text(head + table + definition + "\n".join(lines) + "\n\n# === END OF DATA DESCRIPTION FILE ===\n")
    path.with_suffix(".REC").write_bytes(PIXELS[order].tobytes())
    return path


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nibabel leaves .REC files open
def test_par_rec_has_the_values_and_places_of_its_table(tmp_path: Path) -> None:
    """Transverse: x runs to the left, y to posterior, slices to the head; the centre is at the offset."""
    volume = FolderDataset(tmp_path, normalise="none").open(parrec(tmp_path / "v.PAR"))
    assert (volume.name, len(volume)) == ("v", SLICES)
    values = PIXELS * 2.0 - 10
    for place in range(SLICES):
        np.testing.assert_allclose(volume[place]["image"], values[place].T)
    write_volume(stacked(volume), tmp_path / "out.nii.gz", volume)
    result = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(np.asarray(result.dataobj), np.moveaxis(values, 0, -1).swapaxes(0, 1))
    assert nibabel.aff2axcodes(result.affine) == ("L", "P", "S")
    np.testing.assert_allclose(result.header.get_zooms(), (*SPACING, THICKNESS + GAP), rtol=1e-5)
    posterior, head, left = OFFSET
    centre = result.affine @ [(WIDTH - 1) / 2, (HEIGHT - 1) / 2, (SLICES - 1) / 2, 1]
    np.testing.assert_allclose(centre[:3], [-left, -posterior, head], atol=1e-4)
