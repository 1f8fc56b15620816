-- Whose calls these are by their source, where that is another customer: splitting off again.
DROP INDEX CONCURRENTLY IF EXISTS call_by_given_customer;
CREATE INDEX CONCURRENTLY call_by_given_customer ON call_record_enriched (org_id, given_customer_id, callid)
    WHERE given_customer_id IS NOT NULL;
