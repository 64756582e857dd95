"""Networks of no particular task that ship with the core."""
