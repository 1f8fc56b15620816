"""The API gateway: one process between clients and services.

`app` composes it and `edge` takes a request through it; each folder is a room. Imports between
rooms run one way, by the table in tests/test_layout.py.
"""
