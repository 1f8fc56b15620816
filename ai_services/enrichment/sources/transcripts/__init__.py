"""What was said in the calls of a source: in tables beside them, or in MongoDB."""
