-- Automations, what became of each of their slots, and the history of their edits.
-- `handled_slot` is the last slot that is accounted for; `next_slot` the next one; `due_at` when to act on it (a stagger
-- or a wait after failures may lie in between). `state` is a watch's or an expectation's memory.

CREATE TABLE automations (
    automation_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    type TEXT NOT NULL,
    source TEXT,
    hook TEXT,
    spec TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    version INTEGER NOT NULL,
    handled_slot BIGINT NOT NULL,
    next_slot BIGINT,
    due_at BIGINT,
    retry_at BIGINT,
    last_run BIGINT,
    last_task TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    alerted_at BIGINT,
    alert_cause TEXT,
    state TEXT NOT NULL,
    origin TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX automations_due ON automations (due_at) WHERE status = 'active' AND due_at IS NOT NULL;
CREATE INDEX automations_name ON automations (name);
CREATE INDEX automations_source ON automations (source) WHERE source IS NOT NULL;
CREATE INDEX automations_hook ON automations (hook) WHERE hook IS NOT NULL;

CREATE TABLE occurrences (
    automation_id TEXT NOT NULL,
    slot BIGINT NOT NULL,
    status TEXT NOT NULL,
    task_id TEXT,
    reason TEXT NOT NULL,
    merged_into BIGINT,
    outcome TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (automation_id, slot)
);
CREATE INDEX occurrences_open ON occurrences (task_id) WHERE task_id IS NOT NULL AND outcome IS NULL;

CREATE TABLE automation_edits (
    automation_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    time BIGINT NOT NULL,
    actor TEXT NOT NULL,
    spec TEXT NOT NULL,
    PRIMARY KEY (automation_id, version)
);

-- Starts of the process that did not end in order: what a restart storm is told by.
CREATE TABLE unclean_starts (started_at BIGINT PRIMARY KEY);
