-- Tasks, their executions and steps, the event log, the outbox, the audit trail.
-- Times are microseconds since the epoch, durations microseconds, documents JSON texts. The same on SQLite and PostgreSQL.

CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL, note TEXT NOT NULL DEFAULT '');
INSERT INTO counters (name, value) VALUES ('event', 0), ('audit', 0);

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    params TEXT NOT NULL,
    title TEXT NOT NULL,
    runtime TEXT NOT NULL,
    owner TEXT NOT NULL,
    session TEXT,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    execution_id TEXT,
    automation_id TEXT,
    parent_id TEXT,
    flow_id TEXT,
    awaited INTEGER NOT NULL DEFAULT 1,
    priority TEXT NOT NULL,
    notify TEXT NOT NULL,
    detached INTEGER NOT NULL,
    lane TEXT,
    timeout BIGINT,
    retry TEXT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    dedupe_key TEXT,
    merge_key TEXT,
    merged_into TEXT,
    not_before BIGINT,
    time_window TEXT,
    deadline BIGINT,
    effect TEXT,
    -- The queue: `runnable` is 1 when nothing but a free slot is missing; `ready_at` is when a held task becomes so.
    runnable INTEGER NOT NULL DEFAULT 0,
    ready_at BIGINT,
    queue_rank BIGINT NOT NULL,
    next_attempt_at BIGINT,
    blocked_by INTEGER NOT NULL DEFAULT 0,
    -- The lease.
    lease_owner TEXT,
    lease_until BIGINT,
    run_started_at BIGINT,
    ran_for BIGINT NOT NULL DEFAULT 0,
    -- What somebody wants of it: 'cancel' or 'pause'; sticks until it is done.
    intent TEXT,
    intent_by TEXT,
    waiting_for TEXT,
    wake_at BIGINT,
    progress TEXT NOT NULL,
    estimated_completion BIGINT,
    created_at BIGINT NOT NULL,
    queued_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    updated_at BIGINT NOT NULL,
    result TEXT,
    error TEXT,
    verdict TEXT,
    delivery TEXT NOT NULL,
    delivery_status TEXT NOT NULL,
    usage TEXT NOT NULL,
    budget TEXT,
    origin TEXT NOT NULL
);
CREATE INDEX tasks_queue ON tasks (detached, owner, queue_rank, task_id) WHERE status = 'queued' AND runnable = 1;
CREATE INDEX tasks_held ON tasks (ready_at) WHERE status = 'queued' AND runnable = 0;
CREATE INDEX tasks_running ON tasks (lease_owner) WHERE status = 'running';
CREATE INDEX tasks_wake ON tasks (wake_at) WHERE status = 'waiting';
CREATE INDEX tasks_status ON tasks (status, task_id);
CREATE INDEX tasks_runtime ON tasks (runtime, task_id);
CREATE INDEX tasks_owner ON tasks (owner, task_id);
CREATE INDEX tasks_session ON tasks (session, task_id);
CREATE INDEX tasks_parent ON tasks (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX tasks_lane ON tasks (lane, task_id) WHERE lane IS NOT NULL AND status IN ('queued', 'running');
CREATE INDEX tasks_automation ON tasks (automation_id, task_id) WHERE automation_id IS NOT NULL;
CREATE UNIQUE INDEX tasks_dedupe ON tasks (owner, dedupe_key)
    WHERE dedupe_key IS NOT NULL AND status IN ('queued', 'running', 'waiting', 'paused');
CREATE INDEX tasks_merge ON tasks (owner, merge_key) WHERE merge_key IS NOT NULL AND status = 'queued';
CREATE INDEX tasks_merged ON tasks (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX tasks_ended ON tasks (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX tasks_title ON tasks (title);

CREATE TABLE dependencies (
    task_id TEXT NOT NULL,
    after_id TEXT NOT NULL,
    condition TEXT NOT NULL,
    PRIMARY KEY (task_id, after_id)
);
CREATE INDEX dependencies_after ON dependencies (after_id);

CREATE TABLE executions (
    execution_id TEXT PRIMARY KEY,
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    worker TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    outcome TEXT,
    error TEXT
);
CREATE INDEX executions_task ON executions (task_id, attempt);

CREATE TABLE steps (
    task_id TEXT NOT NULL,
    step_key TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    name TEXT NOT NULL,
    input_hash TEXT NOT NULL,
    effect TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    result TEXT,
    error TEXT,
    PRIMARY KEY (task_id, step_key)
);

CREATE TABLE task_logs (
    task_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    time BIGINT NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (task_id, n)
);

CREATE TABLE artifacts (
    artifact_id TEXT PRIMARY KEY,
    task_id TEXT NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    path TEXT NOT NULL,
    partial INTEGER NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX artifacts_task ON artifacts (task_id, name);

CREATE TABLE events (
    seq BIGINT PRIMARY KEY,
    time BIGINT NOT NULL,
    type TEXT NOT NULL,
    task_id TEXT,
    session TEXT,
    data TEXT NOT NULL
);
CREATE INDEX events_task ON events (task_id, seq) WHERE task_id IS NOT NULL;

-- Messages owed. `delivery_id` is the key every resend carries.
CREATE TABLE outbox (
    delivery_id TEXT PRIMARY KEY,
    task_id TEXT,
    transition TEXT NOT NULL,
    target TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 1,
    conversation TEXT NOT NULL,
    status TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at BIGINT,
    expires_at BIGINT,
    receipt TEXT,
    error TEXT,
    incident TEXT,
    read_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX outbox_once ON outbox (task_id, transition, target, generation) WHERE task_id IS NOT NULL;
CREATE INDEX outbox_due ON outbox (next_at, delivery_id) WHERE status IN ('pending', 'sending');
CREATE INDEX outbox_order ON outbox (conversation, delivery_id) WHERE status IN ('pending', 'sending');
CREATE INDEX outbox_task ON outbox (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX outbox_inbox ON outbox (delivery_id) WHERE target = 'inbox';

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    time BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    task_id TEXT,
    detail TEXT NOT NULL,
    usage TEXT,
    decision TEXT,
    hash TEXT NOT NULL,
    previous TEXT NOT NULL
);
CREATE INDEX audit_task ON audit (task_id, seq) WHERE task_id IS NOT NULL;

CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    status INTEGER NOT NULL,
    response TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_age ON idempotency (created_at);
