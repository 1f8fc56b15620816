"""The stores that come along: PostgreSQL, Redis and a graph database, run from installed wheels.

Nothing here queries them; that is `data_access`.
"""
