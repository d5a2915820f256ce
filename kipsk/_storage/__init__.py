"""Files with the state of a run, and texts that tell which run a file belongs to."""
