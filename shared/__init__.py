"""What gateway and services have in common: settings, errors, security, telemetry, small values.

It imports none of them.
"""
