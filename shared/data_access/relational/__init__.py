"""The relational port's adapter: PostgreSQL, its transactions and migrations."""
