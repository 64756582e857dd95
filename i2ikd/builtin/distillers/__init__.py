"""The terms that every recipe stands on: target, imitation, attention."""
