"""Guesses a column map for a file that nobody has described: by the names and the values of its columns."""
