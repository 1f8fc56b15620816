"""Access tokens: the keys that sign them, and the revocations that end them early."""
