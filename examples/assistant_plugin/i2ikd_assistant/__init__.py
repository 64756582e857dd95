"""Distillation from a teacher and an assistant for i2ikd: an objective and a recipe."""
