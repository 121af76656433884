-- Delivery: what the dispatcher needs to know of a message owed, the state of each channel, who may speak through one.

ALTER TABLE outbox ADD COLUMN at_least_once INTEGER NOT NULL DEFAULT 0;
-- The person's quiet or the digest holds a message out of its line until then.
ALTER TABLE outbox ADD COLUMN held_until BIGINT;
ALTER TABLE outbox ADD COLUMN planned INTEGER NOT NULL DEFAULT 0;
-- The delivery whose message carries this one too (a digest).
ALTER TABLE outbox ADD COLUMN bundle TEXT;
-- The delivery this one stands in for, one rung further down the ladder.
ALTER TABLE outbox ADD COLUMN fallback_of TEXT;
-- The process that is sending.
ALTER TABLE outbox ADD COLUMN sender TEXT;
-- The address it really went to, with the channel's default filled in.
ALTER TABLE outbox ADD COLUMN sent_to TEXT;
CREATE INDEX outbox_held ON outbox (held_until) WHERE status = 'pending' AND held_until IS NOT NULL;
CREATE INDEX outbox_incident ON outbox (incident, target) WHERE incident IS NOT NULL;
CREATE INDEX outbox_bundle ON outbox (bundle) WHERE bundle IS NOT NULL;
CREATE INDEX outbox_asked ON outbox (sent_to, delivery_id) WHERE sent_to IS NOT NULL;

CREATE TABLE channel_state (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    last_sent_at BIGINT,
    last_received_at BIGINT,
    last_error TEXT,
    last_error_at BIGINT,
    errors INTEGER NOT NULL DEFAULT 0,
    disabled TEXT
);

CREATE TABLE channel_notes (
    channel TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (channel, name)
);

CREATE TABLE pairings (
    channel TEXT NOT NULL,
    sender TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    conversation TEXT NOT NULL,
    code TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (channel, sender)
);
CREATE UNIQUE INDEX pairings_code ON pairings (code);

CREATE TABLE paired (
    channel TEXT NOT NULL,
    sender TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    conversation TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (channel, sender)
);

CREATE TABLE inbound (
    channel TEXT NOT NULL,
    event_id TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (channel, event_id)
);
CREATE INDEX inbound_age ON inbound (received_at);
