"""MRI super-resolution: the task `mri-sr` and the networks VDSR and upsampling-cnn."""
