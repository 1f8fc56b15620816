"""Batches: requests that a provider answers within a day, for less; and the files they come and go in."""
