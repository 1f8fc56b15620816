"""Providers: a single attempt at one deployment, how it failed, and which are left alone."""
