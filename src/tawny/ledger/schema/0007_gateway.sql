-- Who may speak to the gateway, which devices are paired, where pushes go, what has been seen.

-- A secret is kept as its SHA-256 alone. `kind`: token (named), browser (a sign-in's cookie), device (paired by key).
CREATE TABLE credentials (
    credential_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    public_key TEXT,
    role TEXT NOT NULL,
    scopes TEXT NOT NULL,
    -- The digest of the owner's token that granted it: a changed token ends what it granted.
    granted_by TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_seen_at BIGINT,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX credentials_hash ON credentials (hash);

CREATE TABLE device_codes (
    pairing_id TEXT PRIMARY KEY,
    code_hash TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    scopes TEXT NOT NULL,
    granted_by TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE UNIQUE INDEX device_codes_code ON device_codes (code_hash);

CREATE TABLE push_subscriptions (
    endpoint TEXT PRIMARY KEY,
    credential_id TEXT,
    name TEXT NOT NULL,
    p256dh TEXT NOT NULL,
    auth TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0
);

-- What the person has seen, the same on every device: a task, an approval, a session.
CREATE TABLE seen (
    item TEXT PRIMARY KEY,
    seen_at BIGINT NOT NULL
);
