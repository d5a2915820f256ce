"""The Displays of `kipsk.plotting`, one kind of picture per file."""
