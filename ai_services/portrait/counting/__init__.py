"""Counting: portraits follow each committed call, by what the change log holds of it."""
