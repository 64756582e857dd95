"""Task `mri-multicoil`: reconstruction of undersampled multi-coil k-space."""
