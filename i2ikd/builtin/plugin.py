"""What ships with the core, registered through the same hooks as anybody's plugin."""
