"""Clients' connections: the socket side of HTTP/1.1, its deadlines, and Sanic's life cycle.

What a message means is in `http`; what is answered, in `edge`.
"""
