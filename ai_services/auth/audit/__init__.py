"""The audit log of an organisation: a hash chain, its queries, and writing to it.

What is worth an entry is decided where it happens.
"""
