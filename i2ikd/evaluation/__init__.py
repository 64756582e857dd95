"""Scores: metrics, per-sample records, statistics, and what a network costs."""
