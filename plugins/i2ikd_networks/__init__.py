"""Networks of other libraries as teachers and students: MONAI's and deepinv's, where these are installed."""
