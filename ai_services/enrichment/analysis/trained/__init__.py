"""Models of one's own, as they judge calls: what they read, how they are kept. Nothing here trains."""
