"""What is kept in files: a run's state, and texts that say what it belongs to."""
