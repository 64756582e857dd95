"""Distillation schemes: objectives, a transform, a combination and recipes that shape a run, not one loss."""
