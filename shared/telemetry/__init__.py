"""What one process tells of itself: log lines, metrics, spans."""
