"""Fetching calls from where organisations have them: a Protocol of sources, and each kind of them."""
