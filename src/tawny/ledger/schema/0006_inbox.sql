-- Events from outside: stored before they are acknowledged, once per (source, event id), kept 30 days.
-- `status` is 'new' until the matcher has handled it, then 'matched', 'unmatched' or 'stale'.

CREATE TABLE inbox (
    seq BIGINT PRIMARY KEY,
    source TEXT NOT NULL,
    event_id TEXT NOT NULL,
    time BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    trust TEXT NOT NULL,
    data TEXT NOT NULL,
    status TEXT NOT NULL,
    tasks TEXT NOT NULL
);
CREATE UNIQUE INDEX inbox_once ON inbox (source, event_id);
CREATE INDEX inbox_new ON inbox (seq) WHERE status = 'new';
CREATE INDEX inbox_age ON inbox (received_at);
CREATE INDEX inbox_newest ON inbox (source, seq);

INSERT INTO counters (name, value) VALUES ('inbox', 0);

-- Where each source of events stands: a cursor, when it last answered, how often in a row it has not.
CREATE TABLE event_sources (
    source TEXT PRIMARY KEY,
    cursor TEXT NOT NULL,
    seen_at BIGINT,
    failures INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    updated_at BIGINT NOT NULL
);

-- Tasks that wait for an event.
CREATE TABLE event_waits (
    task_id TEXT NOT NULL,
    wait_key TEXT NOT NULL,
    source TEXT NOT NULL,
    filter TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (task_id, wait_key)
);
CREATE INDEX event_waits_source ON event_waits (source);
