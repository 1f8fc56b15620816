"""The vector port's adapters: pgvector and Weaviate."""
