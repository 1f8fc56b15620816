"""Rate limits: their syntax, GCRA, leases of the count that all gateways share in Redis, the headers.

Limits on what a service works on at once are `resilience`'s.
"""
