-- metering's own tables. Only ever grows; applied at each start, under a lock.

-- What is known of a job that has no line yet: records as they stood on their topics, until all of them are there.
CREATE TABLE IF NOT EXISTS waiting (
    job text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    stamp_ms bigint NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (job, name)
);

-- An attempt that was kept and has no line yet holds its partition's watermark back.
CREATE INDEX IF NOT EXISTS waiting_kept ON waiting (topic, partition, record_offset) WHERE name = 'kept';

-- A job is counted once, for ever: its line is (job, attempt, window 0). Without an attempt: refused or given up.
CREATE TABLE IF NOT EXISTS closed_jobs (
    job text PRIMARY KEY,
    attempt integer
);

-- Epochs whose end rewards has announced, verbatim.
CREATE TABLE IF NOT EXISTS closings (
    epoch bigint PRIMARY KEY,
    value bytea NOT NULL
);

-- A watermark is said once to each partition of the usage lines.
CREATE TABLE IF NOT EXISTS watermarks (
    epoch bigint NOT NULL,
    partition integer NOT NULL,
    copy integer NOT NULL,
    PRIMARY KEY (epoch, partition, copy)
);
