"""Systems that stay connected: databases that calls are read from, day by day, and what sends them."""
