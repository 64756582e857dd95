"""Ground that the MRI tasks stand on: Fourier transforms, masks, data consistency, volumes, readers, phantom."""
