"""The auth service: organisations, users, sign-in, API keys, tokens, and the audit log of changes."""
