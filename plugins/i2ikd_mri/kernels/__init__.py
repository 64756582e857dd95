"""Convolutions and activation checkpointing for networks with few image channels."""
