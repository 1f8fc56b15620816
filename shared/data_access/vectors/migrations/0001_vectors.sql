-- The embedded vector index. Only processes that keep vectors in PostgreSQL run this file: a
-- PostgreSQL beside Weaviate needs no pgvector.
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE vector_item (
    org_id         uuid NOT NULL,
    collection     text COLLATE "C" NOT NULL,
    model_version  text COLLATE "C" NOT NULL,
    id             text COLLATE "C" NOT NULL,
    dim            integer NOT NULL,
    embedding      vector NOT NULL CHECK (vector_dims(embedding) = dim),
    properties     jsonb NOT NULL,
    PRIMARY KEY (org_id, collection, model_version, id)
);
CALL protect_tenant_table('vector_item');

-- One index per usual dimension, empty until there are such vectors; other dimensions are
-- searched exactly. vectors_pgvector.py knows the same list.
DO $$
DECLARE
    dim integer;
BEGIN
    FOREACH dim IN ARRAY ARRAY[32, 64, 128, 256, 384, 512, 768, 1024, 1536] LOOP
        EXECUTE format('CREATE INDEX vector_item_%1$s ON vector_item '
                       'USING hnsw ((embedding::vector(%1$s)) vector_cosine_ops) WHERE dim = %1$s', dim);
    END LOOP;
END $$;
