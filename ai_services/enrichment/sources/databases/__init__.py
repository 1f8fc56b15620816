"""Databases that calls are read from: a contract, MySQL and PostgreSQL, and queries of checked names."""
