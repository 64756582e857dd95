"""What the MRI tasks are built on: Fourier transforms, masks, data consistency, volumes, readers, phantom."""
