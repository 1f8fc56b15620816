"""The schema of the search index that is kept in PostgreSQL."""
