"""Webhooks: organisations are told of what happens, at addresses of their own."""
