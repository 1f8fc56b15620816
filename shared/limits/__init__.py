"""Limits that processes count together: rates by GCRA, places by a semaphore.

Each counts in Redis, or in this process's memory; the contract is the same.
"""
