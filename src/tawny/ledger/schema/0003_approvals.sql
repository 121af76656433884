-- Questions that only a person may answer, and standing answers to exactly the same question.

CREATE TABLE approvals (
    approval_id TEXT PRIMARY KEY,
    task_id TEXT NOT NULL,
    wait_key TEXT NOT NULL,
    status TEXT NOT NULL,
    tool TEXT NOT NULL,
    operation TEXT NOT NULL,
    arguments TEXT NOT NULL,
    -- SHA-256 over operation and arguments: a standing grant is bound to it.
    fingerprint TEXT NOT NULL,
    level INTEGER NOT NULL,
    reason TEXT NOT NULL,
    origin TEXT NOT NULL,
    -- Immutable ids that may answer beside the owner.
    approvers TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    remind_at BIGINT,
    reminders INTEGER NOT NULL DEFAULT 0,
    answered_by TEXT,
    answered_at BIGINT,
    answered_arguments TEXT,
    note TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX approvals_wait ON approvals (task_id, wait_key);
CREATE INDEX approvals_status ON approvals (status, approval_id);
CREATE INDEX approvals_expiry ON approvals (expires_at) WHERE status = 'pending';
CREATE INDEX approvals_reminder ON approvals (remind_at) WHERE status = 'pending' AND remind_at IS NOT NULL;

CREATE TABLE grants (
    grant_id TEXT PRIMARY KEY,
    approval_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    operation TEXT NOT NULL,
    arguments TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    granted_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    uses_left INTEGER NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0,
    last_used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX grants_fingerprint ON grants (fingerprint) WHERE revoked_at IS NULL;
