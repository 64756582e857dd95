"""Distillation schemes: objectives, a transform and recipes that shape a run, not one loss."""
