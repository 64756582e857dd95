"""Components shared by the MRI tasks: Fourier transforms, masks, data consistency, volumes, readers, phantom."""
