-- What an import brought in: taking it back.
DROP INDEX CONCURRENTLY IF EXISTS call_by_import;
CREATE INDEX CONCURRENTLY call_by_import ON call_record_enriched (org_id, import_id, callid)
    WHERE import_id IS NOT NULL;
