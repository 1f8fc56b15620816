-- The imports whose job may have ended: the sweep.
DROP INDEX CONCURRENTLY IF EXISTS import_unfinished;
CREATE INDEX CONCURRENTLY import_unfinished ON import_run (org_id, import_id) WHERE finished_at IS NULL;
