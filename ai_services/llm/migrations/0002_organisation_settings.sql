-- What an organisation decides about its requests to models; no row: the defaults.
CREATE TABLE llm_setting (
    org_id              uuid PRIMARY KEY,
    mask_personal_data  boolean NOT NULL DEFAULT true,
    encrypt_answers     boolean NOT NULL DEFAULT false,  -- those that are kept for a time
    updated_at          timestamptz NOT NULL DEFAULT now()
);
CALL protect_tenant_table('llm_setting');
