-- Conversations: sessions, their append-only transcripts, what was said to them and waits, and what they must be told.

CREATE TABLE sessions (
    session TEXT PRIMARY KEY,
    agent TEXT NOT NULL,
    title TEXT NOT NULL,
    -- Where answers go: channel, address and thread of the last message that came from outside.
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    thread TEXT NOT NULL,
    parent TEXT,
    depth INTEGER NOT NULL DEFAULT 0,
    settings TEXT NOT NULL,
    -- Entries up to `starts_after` are not shown to the model (a new conversation was begun, or they are summarised).
    starts_after BIGINT NOT NULL DEFAULT 0,
    summary TEXT NOT NULL DEFAULT '',
    entries BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX sessions_recent ON sessions (updated_at);
CREATE INDEX sessions_parent ON sessions (parent) WHERE parent IS NOT NULL;

CREATE TABLE transcript (
    session TEXT NOT NULL,
    n BIGINT NOT NULL,
    run_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    role TEXT NOT NULL,
    -- What a person reads, and the message as the model library keeps it.
    text TEXT NOT NULL,
    message TEXT NOT NULL,
    size BIGINT NOT NULL,
    task_ids TEXT NOT NULL DEFAULT '[]',
    time BIGINT NOT NULL,
    PRIMARY KEY (session, n)
);
CREATE UNIQUE INDEX transcript_once ON transcript (session, run_id, position);

CREATE TABLE session_inputs (
    input_id TEXT PRIMARY KEY,
    session TEXT NOT NULL,
    source TEXT NOT NULL,
    event_id TEXT NOT NULL,
    text TEXT NOT NULL,
    detail TEXT NOT NULL,
    -- The turn that was started for it, and the turn that took it in, when that is another.
    task_id TEXT,
    taken_by TEXT,
    status TEXT NOT NULL,
    reply TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX session_inputs_once ON session_inputs (source, event_id);
CREATE INDEX session_inputs_waiting ON session_inputs (session, status, input_id);
CREATE INDEX session_inputs_task ON session_inputs (task_id);

CREATE TABLE session_notes (
    note_id TEXT PRIMARY KEY,
    session TEXT NOT NULL,
    text TEXT NOT NULL,
    task_id TEXT,
    taken_by TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX session_notes_waiting ON session_notes (session, note_id);

-- Accounts at model providers that rest after failures.
CREATE TABLE model_rests (
    account TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    strikes INTEGER NOT NULL,
    until BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- What has been used per scope (a task, an automation, a session, the owner's day), and what was added to its bounds.
CREATE TABLE budget_use (
    scope TEXT PRIMARY KEY,
    used TEXT NOT NULL,
    raised TEXT NOT NULL,
    warned INTEGER NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL
);
CREATE INDEX budget_use_age ON budget_use (updated_at);
