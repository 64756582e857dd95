"""Delivery of trained networks: export, verification in the runtime, and bundles."""
