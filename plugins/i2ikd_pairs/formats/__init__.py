"""File formats: PNG, JPEG, TIFF, NumPy, NIfTI and arrays of HDF5, read as and written from stacks of channels."""
