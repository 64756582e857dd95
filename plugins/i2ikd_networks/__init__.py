"""Networks of MONAI and deepinv as teachers and students, if these libraries are installed."""
