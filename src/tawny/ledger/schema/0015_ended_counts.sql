-- How many tasks have ended how: counted as they end, as a look at every row there is would take seconds at a million.
INSERT INTO counters (name, value)
    SELECT 'ended ' || ways.status,
           (SELECT COUNT(*) FROM tasks WHERE tasks.status = ways.status AND tasks.detached = 1)
    FROM (SELECT 'succeeded' AS status UNION ALL SELECT 'failed' UNION ALL SELECT 'timed_out'
          UNION ALL SELECT 'cancelled' UNION ALL SELECT 'lost') AS ways;
