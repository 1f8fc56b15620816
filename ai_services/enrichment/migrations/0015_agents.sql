-- Who spoke for the account, where the source names one; and whether the verdict on a call is a stand-in.
ALTER TABLE call_record_enriched
    ADD COLUMN agent_id  text COLLATE "C",
    ADD COLUMN degraded  boolean NOT NULL DEFAULT false;  -- as call_insight has it: a model was to judge, and hasn't
