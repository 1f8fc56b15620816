"""The schema of PostgreSQL, in numbered SQL files. `relational.migrate` applies them."""
