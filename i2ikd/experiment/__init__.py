"""The grid of arms x seeds, its store, the comparison."""
