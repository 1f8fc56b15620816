-- Files that were sent to be imported, kept until their job is through, and what an import says of itself.
ALTER TABLE import_run
    ADD COLUMN job_id bigint,                        -- that does it; null: it was done at once
    ADD COLUMN error  text,                          -- why the file, or the rest of it, wasn't taken
    ADD COLUMN notes  text[] NOT NULL DEFAULT '{}';  -- what is worth knowing about what came in

CREATE TABLE import_file (
    org_id      uuid NOT NULL,
    import_id   uuid NOT NULL,
    bytes       bigint NOT NULL DEFAULT 0,
    job_id      bigint,                              -- null: it is still coming
    touched_at  timestamptz NOT NULL DEFAULT now(),  -- when its last part came
    PRIMARY KEY (org_id, import_id)
);
CALL protect_tenant_table('import_file');

-- A megabyte each, but for the last. Encrypted (AES-GCM): a file holds phone numbers as they are.
CREATE TABLE import_part (
    org_id      uuid NOT NULL,
    import_id   uuid NOT NULL,
    number      integer NOT NULL,
    sealed      bytea NOT NULL,
    PRIMARY KEY (org_id, import_id, number),
    FOREIGN KEY (org_id, import_id) REFERENCES import_file ON DELETE CASCADE
);
ALTER TABLE import_part ALTER COLUMN sealed SET STORAGE EXTERNAL;  -- it can't be compressed
CALL protect_tenant_table('import_part', 'SELECT, INSERT, DELETE');
