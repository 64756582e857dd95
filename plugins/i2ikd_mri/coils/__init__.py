"""Multi-coil imaging: coil maps, compression to virtual coils, and the measurement operator."""
