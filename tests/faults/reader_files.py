"""A small intact file for each reader and format: the starting points of damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import ismrmrd
import nibabel
import numpy as np
import pydicom
import tifffile
from i2ikd_mri.readers.calgary import CalgaryCampinasReader
from i2ikd_mri.readers.complex_hdf5 import ComplexHdf5Reader
from i2ikd_mri.readers.dicom import DicomReader
from i2ikd_mri.readers.fastmri import FastMriReader
from i2ikd_mri.readers.image import ImageReader
from i2ikd_mri.readers.ismrmrd import IsmrmrdReader
from i2ikd_mri.readers.kdmri import KdMriReader
from i2ikd_mri.readers.named_hdf5 import NamedHdf5Reader
from i2ikd_mri.readers.nifti import NiftiReader
from i2ikd_mri.readers.skm_tea import SkmTeaReader
from ismrmrd import xsd
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from i2ikd import Reader

STACK = np.random.default_rng(3).integers(0, 4000, (3, 12, 10)).astype(np.uint16)
"""Values [slices, H, W]."""
KSPACE = (STACK + 1j * STACK[::-1]).astype(np.complex64)

SPACE = "<matrixSize><x>12</x><y>10</y><z>1</z></matrixSize>"
LIMITS = "<kspace_encoding_step_1><minimum>0</minimum><maximum>9</maximum><center>5</center></kspace_encoding_step_1>"
HEADER = (
    f'<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><encodedSpace>{SPACE}</encodedSpace>'
    f"<reconSpace>{SPACE}</reconSpace><encodingLimits>{LIMITS}</encodingLimits></encoding></ismrmrdHeader>"
)


def _hdf5(**datasets: np.ndarray | str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, values in datasets.items():
                chunked = isinstance(values, np.ndarray) and values.ndim > 2
                file.create_dataset(name, data=values, compression="gzip" if chunked else None)

    return write


def _ismrmrd(path: Path) -> None:
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=12, y=10, z=1), fieldOfView_mm=xsd.fieldOfViewMm(x=12.0, y=10.0, z=4.0)
    )
    encoding = xsd.encodingType(
        encodedSpace=space,
        reconSpace=space,
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=9, center=5),
        ),
        trajectory=xsd.trajectoryType("cartesian"),
    )
    conditions = xsd.experimentalConditionsType(H1resonanceFrequency_Hz=128_000_000)
    with ismrmrd.Dataset(str(path), "dataset") as dataset:
        dataset.write_xml_header(
            bytes(xsd.ToXML(xsd.ismrmrdHeader(experimentalConditions=conditions, encoding=[encoding])), "utf-8")
        )
        for step in range(10):
            line = ismrmrd.Acquisition.from_array(KSPACE[:2, :, step].copy(), center_sample=6)
            line.idx.kspace_encode_step_1 = step
            dataset.append_acquisition(line)


def _dicom(path: Path) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=["one"])
    dataset.SeriesInstanceUID, dataset.Modality, dataset.SamplesPerPixel = generate_uid(entropy_srcs=["s"]), "MR", 1
    dataset.Rows, dataset.Columns, dataset.PhotometricInterpretation = 12, 10, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0.0, 1, 2], [1.0, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness, dataset.RescaleSlope, dataset.RescaleIntercept = [1, 1], 2, 2, -1
    dataset.PixelData = STACK[0].tobytes()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def _nibabel(image: type) -> Callable[[Path], None]:
    return lambda path: nibabel.save(image(np.moveaxis(STACK, 0, -1).astype(np.int16), np.eye(4)), path)


@dataclass(frozen=True)
class ReaderFile:
    """A reader and the way to write a file that it reads."""

    reader: Reader
    suffix: str
    write: Callable[[Path], object]


READER_FILES = {
    "kdmri-hdf5": ReaderFile(KdMriReader(), ".h5", _hdf5(volfs=np.moveaxis(STACK, 0, -1).astype(np.float32))),
    "complex-hdf5": ReaderFile(ComplexHdf5Reader(), ".h5", _hdf5(image=KSPACE)),
    "fastmri": ReaderFile(FastMriReader(), ".h5", _hdf5(kspace=KSPACE, ismrmrd_header=HEADER)),
    "ismrmrd": ReaderFile(IsmrmrdReader(), ".h5", _ismrmrd),
    "calgary-campinas": ReaderFile(
        CalgaryCampinasReader(), ".h5", _hdf5(kspace=np.stack([STACK] * 4, -1).astype(np.float32))
    ),
    "skm-tea": ReaderFile(
        SkmTeaReader(),
        ".h5",
        _hdf5(
            target=np.stack([KSPACE] * 2, -1)[..., None],
            kspace=np.stack([KSPACE] * 6, -1).reshape(3, 12, 10, 2, 3),
            maps=np.stack([KSPACE] * 3, -1)[..., None],
        ),
    ),
    "hdf5": ReaderFile(
        NamedHdf5Reader(image="image", kspace="kspace", axes="slices height width"),
        ".h5",
        _hdf5(image=STACK.astype(np.float32), kspace=KSPACE),
    ),
    "nifti": ReaderFile(NiftiReader(), ".nii", _nibabel(nibabel.Nifti1Image)),
    "nifti-2": ReaderFile(NiftiReader(), ".nii", _nibabel(nibabel.Nifti2Image)),
    "nifti-gz": ReaderFile(NiftiReader(), ".nii.gz", _nibabel(nibabel.Nifti1Image)),
    "mgh": ReaderFile(NiftiReader(), ".mgz", _nibabel(nibabel.MGHImage)),
    "dicom": ReaderFile(DicomReader(), ".dcm", _dicom),
    "png": ReaderFile(ImageReader(), ".png", lambda path: Image.fromarray(STACK[0]).save(path)),
    "npy": ReaderFile(ImageReader(), ".npy", lambda path: np.save(path, STACK)),
    "tiff": ReaderFile(ImageReader(), ".tif", lambda path: tifffile.imwrite(path, STACK, photometric="minisblack")),
    "tiff-deflate": ReaderFile(
        ImageReader(),
        ".tif",
        lambda path: tifffile.imwrite(path, STACK, photometric="minisblack", compression="zlib", predictor=2),
    ),
}
"""By format."""
