"""Convolutions and recomputation tuned for networks with few image channels."""
