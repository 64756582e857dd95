"""Objectives that ship with the core."""
