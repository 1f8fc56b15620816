"""Tests of legs and the calls that they make."""
