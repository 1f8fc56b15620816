"""The snapshot law as SQL: what is counted of a call, and how sums become portraits."""
