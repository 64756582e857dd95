"""Task of pairs of images in two folders, a table or an HDF5 file, without a package of its own."""
