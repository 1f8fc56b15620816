"""Periods as they are kept: which there are, in what state, and who is told that one has changed."""
