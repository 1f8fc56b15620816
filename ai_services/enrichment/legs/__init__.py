"""Calls of which a PBX writes a row per leg: which row is which leg, and what call they make."""
