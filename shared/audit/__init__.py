"""The audit log of an organisation: a hash chain, its queries, and writing to it.

What is worth an entry is decided where it happens, by every service in the transaction of its change.
The tables are those of the auth service.
"""
