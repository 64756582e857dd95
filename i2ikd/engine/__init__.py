"""Training: one loop for everything, stages and recipes, checkpoints, the knowledge bank, device and precision."""
