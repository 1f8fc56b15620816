-- Who analyses which transcripts right now, a batch in a row: nothing is locked meanwhile.
CREATE TABLE analysis_claim (
    org_id       uuid NOT NULL,
    claim        bigint GENERATED ALWAYS AS IDENTITY,  -- the fencing number: whoever claims later has a higher one
    callids      text[] COLLATE "C" NOT NULL,
    lease_until  timestamptz NOT NULL,                 -- from then on the calls are anybody's
    PRIMARY KEY (org_id, claim)
);
CALL protect_tenant_table('analysis_claim');
GRANT USAGE ON SEQUENCE analysis_claim_claim_seq TO looma_app, looma_system;
