"""Training: one loop for everything, stages and recipes, checkpoints, the teacher cache, device and precision."""
