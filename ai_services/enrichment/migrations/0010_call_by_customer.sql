-- Whose calls these are: portraits, merging and erasing customers.
DROP INDEX CONCURRENTLY IF EXISTS call_by_customer;
CREATE INDEX CONCURRENTLY call_by_customer ON call_record_enriched (org_id, customer_id, callid)
    WHERE customer_id IS NOT NULL;
