-- Who was called: customers that are one, and what was erased.
ALTER TABLE call_record_enriched
    ADD COLUMN given_customer_id text COLLATE "C";   -- as the source says; null: customer_id is that

-- Every merge, also those that were undone: the tree of customers is made of those that were not.
CREATE TABLE customer_merge (
    org_id       uuid NOT NULL,
    merge_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    customer_id  text COLLATE "C" NOT NULL,
    into_id      text COLLATE "C" NOT NULL,
    calls        bigint NOT NULL DEFAULT 0,           -- that moved with it then
    merged_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    merged_by    text NOT NULL,
    split_at     timestamptz,
    split_by     text,
    PRIMARY KEY (org_id, merge_id),
    CHECK (customer_id <> into_id),
    CHECK ((split_at IS NULL) = (split_by IS NULL))
);
CREATE UNIQUE INDEX customer_merge_of ON customer_merge (org_id, customer_id) WHERE split_at IS NULL;
CREATE INDEX customer_merge_into ON customer_merge (org_id, into_id);
CREATE INDEX customer_merge_before ON customer_merge (org_id, customer_id);
CALL protect_tenant_table('customer_merge');

-- The same tree for those who read it call by call: each customer who is merged, and the one at the top.
CREATE TABLE customer_alias (
    org_id       uuid NOT NULL,
    customer_id  text COLLATE "C" NOT NULL,
    survivor     text COLLATE "C" NOT NULL,
    PRIMARY KEY (org_id, customer_id),
    CHECK (customer_id <> survivor)
);
CREATE INDEX customer_alias_of ON customer_alias (org_id, survivor);
CALL protect_tenant_table('customer_alias');

-- What was erased: receipts, without a word of whom.
CREATE TABLE erasure (
    org_id        uuid NOT NULL,
    erasure_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    kind          text NOT NULL CHECK (kind IN ('call', 'customer')),
    digest        bytea NOT NULL,                     -- keyed, of its id: who knows that can prove it
    subject       text COLLATE "C",                   -- its id, while it is under way
    job_id        bigint,                             -- that does it; null: it was done at once
    requested_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    requested_by  text NOT NULL,
    finished_at   timestamptz,
    calls         bigint NOT NULL DEFAULT 0,
    transcripts   bigint NOT NULL DEFAULT 0,
    rejects       bigint NOT NULL DEFAULT 0,
    customers     bigint NOT NULL DEFAULT 0,          -- ids, with those that were merged into it
    first_day     date,                               -- of the calls, whose portraits are computed again
    last_day      date,
    hash          text,                               -- SHA-256 of the receipt, as the audit log has it
    PRIMARY KEY (org_id, erasure_id),
    CHECK ((subject IS NULL) = (finished_at IS NOT NULL)),
    CHECK ((hash IS NULL) = (finished_at IS NULL))
);
CREATE INDEX erasure_open ON erasure (org_id, subject) WHERE finished_at IS NULL;
CALL protect_tenant_table('erasure');

-- All ids that were erased, as keyed digests, which tell nobody's: of what is erased again, and of who
-- stays out when a source brings them again.
CREATE TABLE erased_id (
    org_id      uuid NOT NULL,
    digest      bytea NOT NULL,
    erasure_id  uuid NOT NULL,                        -- the last one
    kept_out    boolean NOT NULL,
    PRIMARY KEY (org_id, digest),
    FOREIGN KEY (org_id, erasure_id) REFERENCES erasure
);
CREATE INDEX erased_id_of ON erased_id (org_id, erasure_id);
CREATE INDEX erased_id_kept_out ON erased_id (org_id) WHERE kept_out;
CALL protect_tenant_table('erased_id');
