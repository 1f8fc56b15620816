"""Computing portraits: which periods, by which statement, as which jobs."""
