"""Tests of suggested column maps."""
