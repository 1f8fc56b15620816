"""Several processes on one port: supervision, their channel, the state and the metrics they share.

A gateway of one process uses none of it.
"""
