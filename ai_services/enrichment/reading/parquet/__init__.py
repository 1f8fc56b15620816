"""Parquet as a table of cells: a bounded part of it at a time."""
