"""Evaluation: metrics, records per slice, statistics, and costs of a network."""
