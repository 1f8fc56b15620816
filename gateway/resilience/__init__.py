"""The rules of resilience with the clock passed in: breakers, outlier ejection, health checks,
retries, load shedding, slow start, deadlines.

Nothing here opens a connection or knows a service: `upstream` applies the rules.
"""
