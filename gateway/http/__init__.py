"""HTTP messages as values: heads, bodies, headers, paths, and which of them pass.

No sockets and no event loop of its own: `downstream` and `upstream` read and write.
"""
