"""The search port's adapters: PostgreSQL and Elasticsearch, and the query they share."""
