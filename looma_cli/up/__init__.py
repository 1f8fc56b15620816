"""`looma up` from start to end: starting, progress, demo data, welcome, detaching."""
