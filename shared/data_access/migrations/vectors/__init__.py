"""The schema of the vectors that are kept in PostgreSQL."""
