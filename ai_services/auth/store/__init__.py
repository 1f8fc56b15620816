"""The queries of the auth service by what they are about: users, organisations, keys, sessions.

Those of the audit log and of throttling stand in their own rooms. No rules here, only SQL.
"""
