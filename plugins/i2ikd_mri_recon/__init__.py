"""MRI reconstruction: the task `mri-recon` and the network DC-CNN."""
