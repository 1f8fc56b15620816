-- The embedded search index. `terms` holds the words of the text with their positions, and, as
-- terms that no text contains, one for the organisation and collection and one for each field:
-- so one GIN index answers words, filters and tenancy together.
CREATE TABLE search_document (
    org_id      uuid NOT NULL,
    collection  text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    text        text NOT NULL,                -- for highlights
    fields      jsonb NOT NULL,
    at          bigint NOT NULL,              -- microseconds since 1970
    terms       tsvector NOT NULL,
    PRIMARY KEY (org_id, collection, id)
);
CREATE INDEX search_document_terms ON search_document USING gin (terms);
CALL protect_tenant_table('search_document');
