-- As call_record_enriched has it.
ALTER TABLE call_leg ADD COLUMN agent_id text COLLATE "C";
