"""Networks of the core, for any task."""
