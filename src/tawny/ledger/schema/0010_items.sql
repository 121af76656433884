-- The items of a task that works through many: one row an item, so that only the unfinished is done again.
CREATE TABLE items (
    task_id TEXT NOT NULL,
    map_key TEXT NOT NULL,
    n INTEGER NOT NULL,
    item TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    result TEXT,
    error TEXT,
    ended_at BIGINT,
    PRIMARY KEY (task_id, map_key, n)
);
CREATE INDEX items_pending ON items (task_id, map_key, n) WHERE status = 'pending';
