"""Imports as jobs: files that come over HTTP are kept in PostgreSQL, and read from there by a job."""
