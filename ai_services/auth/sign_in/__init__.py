"""Signing in: passwords, sessions, and how long failed attempts have to wait.

The tokens that a session hands out are signed in `tokens`.
"""
