-- Which import brought a call in, as long as nothing else has changed it: what taking it back deletes.
ALTER TABLE call_record_enriched ADD COLUMN import_id uuid;  -- null: posted, changed since, or older than this column

ALTER TABLE import_run
    ADD COLUMN take_back_at   timestamptz,               -- since when nothing more of it comes in
    ADD COLUMN taken_back_at  timestamptz,               -- when all of it that could be deleted was
    ADD COLUMN taken_back     bigint NOT NULL DEFAULT 0,  -- calls that were deleted
    ADD COLUMN stayed_out     bigint NOT NULL DEFAULT 0,  -- calls that were erased before
    ADD COLUMN spread         bigint NOT NULL DEFAULT 0,  -- calls whose legs are more than a day apart
    ADD COLUMN not_kept       bigint NOT NULL DEFAULT 0;  -- rejected rows that name what was erased

-- An upload that comes in several requests: how it is to be read once all of it is there.
ALTER TABLE import_file
    ADD COLUMN upload  jsonb,  -- null: it comes in one request
    ADD COLUMN digest  bytea;  -- of that, and of the whole parts that have come
