-- Rows of an import that came in, but not as they stand: a field left empty, a row replaced.
ALTER TABLE import_run
    ADD COLUMN noted jsonb NOT NULL DEFAULT '{}';  -- field → how many notes there are of it

CREATE TABLE import_note (
    org_id      uuid NOT NULL,
    import_id   uuid NOT NULL,
    number      bigint GENERATED ALWAYS AS IDENTITY,  -- a line may have several
    line        bigint NOT NULL,
    field       text NOT NULL,
    value       text NOT NULL,
    problem     text NOT NULL,
    fix         text NOT NULL,
    PRIMARY KEY (org_id, import_id, line, number),
    FOREIGN KEY (org_id, import_id) REFERENCES import_run ON DELETE CASCADE
);
CALL protect_tenant_table('import_note');
GRANT USAGE ON SEQUENCE import_note_number_seq TO looma_app, looma_system;
