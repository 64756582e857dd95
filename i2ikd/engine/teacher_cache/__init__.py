"""Cache of teacher outputs, in memory and on disk."""
