"""The graph port's adapter: Neo4j or ArcadeDB over Bolt, in Cypher."""
