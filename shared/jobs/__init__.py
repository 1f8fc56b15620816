"""Durable jobs over PostgreSQL: long and scheduled work that survives whoever does it.

docs/jobs.md tells how a service declares and runs them, docs/decisions/0018-job-engine.md why so.
"""
