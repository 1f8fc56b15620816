"""The cache port's adapter: Redis."""
