"""The feature-distillation methods that the field compares against: one class each, one file per family."""
