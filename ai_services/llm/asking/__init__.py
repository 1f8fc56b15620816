"""Requests to models and how they are answered: limits, attempts, fallbacks, kept answers."""
