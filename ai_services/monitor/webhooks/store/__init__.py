"""The queries of webhooks."""
