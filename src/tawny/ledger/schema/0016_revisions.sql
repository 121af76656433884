-- The number of a task's newest event once the events themselves are let go: its revision never falls.
ALTER TABLE tasks ADD COLUMN last_event BIGINT NOT NULL DEFAULT 0;
-- What runs of a map, and what of it has failed, without a look at all that has ended.
CREATE INDEX items_running ON items (task_id, map_key, n) WHERE status = 'running';
CREATE INDEX items_failed ON items (task_id, map_key, n) WHERE status = 'failed';
