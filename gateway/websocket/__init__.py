"""WebSockets (RFC 6455): the handshake, the boundaries of frames, the tunnel, its supervision.

Messages are not read here.
"""
