"""MRI reconstruction: the tasks `mri-recon` and `mri-multicoil`, and the networks DC-CNN, VarNet and U-Net."""
