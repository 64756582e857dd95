"""Programs that are copied into bundles; they need neither i2ikd nor torch."""
