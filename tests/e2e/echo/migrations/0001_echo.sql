-- What was said, and what was heard of it.
CREATE TABLE echo_said (
    org_id  uuid NOT NULL REFERENCES organisation ON DELETE CASCADE,
    word    text NOT NULL,
    PRIMARY KEY (org_id, word)
);
CALL protect_tenant_table('echo_said');
CREATE TABLE echo_heard (
    org_id  uuid NOT NULL REFERENCES organisation ON DELETE CASCADE,
    word    text NOT NULL,
    times   integer NOT NULL,
    PRIMARY KEY (org_id, word)
);
CALL protect_tenant_table('echo_heard');
