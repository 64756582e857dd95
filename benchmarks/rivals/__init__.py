"""Other ways to train the same student on the same batches: an expert's loop, and published libraries."""
