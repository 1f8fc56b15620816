-- Whose calls these are: portraits, merging and erasing customers.
CREATE INDEX call_by_customer ON call_record_enriched (org_id, customer_id, callid)
    WHERE customer_id IS NOT NULL;
