"""Which service answers a path: the route file, the table, the plan compiled from both, reload.

The route file that comes along is gateway/routes.toml.
"""
