-- The imports whose job may have ended: the sweep.
CREATE INDEX import_unfinished ON import_run (org_id, import_id) WHERE finished_at IS NULL;
