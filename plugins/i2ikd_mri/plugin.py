"""Hooks that register undersampling masks, coil maps, file readers and datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register, RegisterKind


@i2ikd.hookimpl
def register_kinds(register_kind: RegisterKind) -> None:
    """Undersampling masks and coil maps are kinds of this package: the core needs none."""
    register_kind("mask", summary="undersampling mask: a factory (**options) -> i2ikd_mri.masks.Mask")
    register_kind("coil_map", summary="estimator of coil maps: a factory (**options) -> i2ikd_mri.coils.maps.CoilMaps")


@i2ikd.hookimpl
def register_masks(register: Register) -> None:
    """Register the undersampling masks."""
    register(
        "variable-density",
        "i2ikd_mri.masks:VariableDensity",
        summary="Cartesian lines, fully sampled centre, density that decays away from it",
    )
    register("equispaced", "i2ikd_mri.masks:Equispaced", summary="every n-th Cartesian line, fully sampled centre")
    register("stored", "i2ikd_mri.stored_mask:StoredMask", summary="the mask of each slice, stored in the data files")
    register(
        "fastmri-random",
        "i2ikd_mri.fastmri_masks:FastMriRandom",
        summary="fastMRI's random lines, and center_fraction of all lines in the centre",
        paper="arXiv:1811.08839",
    )
    register(
        "fastmri-equispaced",
        "i2ikd_mri.fastmri_masks:FastMriEquispaced",
        summary="fastMRI's equispaced lines with an offset, and center_fraction of all lines in the centre",
        paper="arXiv:1811.08839",
    )
    register("file", "i2ikd_mri.masks:MaskFile", summary="a mask from a .npy file, [H, W] or one line per entry")


@i2ikd.hookimpl
def register_coil_maps(register: Register) -> None:
    """Register the estimators of coil maps."""
    register(
        "low-resolution",
        "i2ikd_mri.coils.maps:LowResolution",
        summary="images of the measured centre of k-space over their root sum of squares",
        paper="McKenzie et al. 2002, Magn. Reson. Med. 47",
    )
    register(
        "walsh",
        "i2ikd_mri.coils.walsh:Walsh",
        summary="principal eigenvectors of the coils' local covariance",
        paper="Walsh et al. 2000, Magn. Reson. Med. 43",
    )
    register("stored", "i2ikd_mri.coils.maps:StoredMaps", summary="the maps of the file")
    register(
        "espirit",
        "i2ikd_mri.coils.espirit:Espirit",
        summary="ESPIRiT by sigpy (needs the extra espirit)",
        paper="Uecker et al. 2014, Magn. Reson. Med. 71",
    )


@i2ikd.hookimpl
def register_readers(register: Register) -> None:
    """Register the file readers."""
    register(
        "kdmri-hdf5",
        "i2ikd_mri.readers.kdmri:KdMriReader",
        summary="the KD-MRI layout: `volfs`, with or without a stored undersampled pair",
        suffixes=".h5 .hdf5",
    )
    register(
        "nifti",
        "i2ikd_mri.readers.nifti:NiftiReader",
        summary="NIfTI, MGH, MINC and PAR/REC volumes, sliced along an axis or an anatomical plane",
        suffixes=".nii .nii.gz .mgh .mgz .mnc .par .hdr",
    )
    register(
        "image",
        "i2ikd_mri.readers.image:ImageReader",
        summary="one image or array per file",
        suffixes=".png .tif .tiff .npy",
    )
    register(
        "dicom",
        "i2ikd_mri.readers.dicom:DicomReader",
        summary="DICOM series: a folder of files, or a multi-frame file (needs pydicom)",
        suffixes=".dcm .ima",
    )
    register(
        "complex-hdf5",
        "i2ikd_mri.readers.complex_hdf5:ComplexHdf5Reader",
        summary="complex images [slices, H, W] in HDF5 (`image`)",
        suffixes=".h5 .hdf5",
    )
    register(
        "fastmri",
        "i2ikd_mri.readers.fastmri:FastMriReader",
        summary="fastMRI's layout: single-coil k-space, or stored reconstructions",
        suffixes=".h5 .hdf5",
    )
    register(
        "ismrmrd",
        "i2ikd_mri.readers.ismrmrd:IsmrmrdReader",
        summary="ISMRMRD raw data of Cartesian acquisitions (needs ismrmrd)",
        suffixes=".h5 .hdf5 .mrd",
    )
    register(
        "calgary-campinas",
        "i2ikd_mri.readers.calgary:CalgaryCampinasReader",
        summary="raw brain data of Calgary-Campinas: coils alternate in real and imaginary part",
        suffixes=".h5 .hdf5",
    )
    register(
        "skm-tea",
        "i2ikd_mri.readers.skm_tea:SkmTeaReader",
        summary="raw-data track of SKM-TEA: k-space, coil maps and SENSE reconstructions",
        suffixes=".h5 .hdf5",
    )
    register(
        "hdf5",
        "i2ikd_mri.readers.named_hdf5:NamedHdf5Reader",
        summary="HDF5 and MATLAB 7.3 files: names of the datasets and order of their axes are options",
        suffixes=".h5 .hdf5 .mat",
    )


@i2ikd.hookimpl
def register_datasets(register: Register) -> None:
    """Register the datasets."""
    register("folder", "i2ikd_mri.folder:FolderDataset", summary="a folder of files with train, val and test inside")
    register("phantom", "i2ikd_mri.phantom:PhantomDataset", summary="simulated heads, generated from a seed")
