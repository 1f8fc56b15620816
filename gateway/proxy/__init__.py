"""From an admitted request to its client's answer: admission, forwarding, cache, idempotency.

WebSockets, once admitted, are `websocket`'s.
"""
