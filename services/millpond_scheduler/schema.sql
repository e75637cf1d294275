-- What the scheduler must know to go on where it was. All of it is in memory, too; here it survives.

-- Accepted and not ended. `spec` is JSON, as it came; `tried`: of each lost attempt in order [gpu, contributor, reason].
CREATE TABLE IF NOT EXISTS jobs (
    job text PRIMARY KEY,
    partition integer NOT NULL,
    gateway text NOT NULL,
    spec text NOT NULL,
    terms_hash text NOT NULL,
    deadline_ms bigint NOT NULL,
    accepted_order bigint NOT NULL UNIQUE,
    tried text NOT NULL
);

-- A job has one open attempt at most, and an attempt's lease is one job's.
CREATE TABLE IF NOT EXISTS attempts (
    job text PRIMARY KEY,
    number integer NOT NULL CHECK (number >= 1),
    lease text NOT NULL UNIQUE,
    gpu text NOT NULL,
    device text NOT NULL,
    contributor text NOT NULL,
    assigned_ms bigint NOT NULL,
    lease_ms bigint NOT NULL,
    lease_until_ms bigint NOT NULL,
    gone boolean NOT NULL,
    forgiven boolean NOT NULL
);

-- Requests that are not decided yet, as they came.
CREATE TABLE IF NOT EXISTS asked (
    job text PRIMARY KEY,
    request text NOT NULL,
    partition integer NOT NULL,
    stamp_ms bigint NOT NULL
);

-- GPUs that are not gone, as the registry tells of them.
CREATE TABLE IF NOT EXISTS gpus (
    gpu text PRIMARY KEY,
    hardware_id text NOT NULL,
    device text NOT NULL,
    contributor text NOT NULL,
    slots integer NOT NULL CHECK (slots >= 1),
    workloads text[] NOT NULL,
    online boolean NOT NULL
);

-- What each of them did for us: whose turn it is among equals, and who rests.
CREATE TABLE IF NOT EXISTS standings (
    gpu text PRIMARY KEY,
    last_assigned bigint NOT NULL,
    failures integer NOT NULL,
    rests_until_ms bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS devices (
    device text PRIMARY KEY,
    contributor text NOT NULL,
    delegation text NOT NULL,
    expires_ms bigint NOT NULL
);

-- All gateways ever admitted; `admitted`: it may send jobs now.
CREATE TABLE IF NOT EXISTS gateways (
    gateway text PRIMARY KEY,
    admitted boolean NOT NULL
);

-- Contributors who get no new work.
CREATE TABLE IF NOT EXISTS barred (
    contributor text PRIMARY KEY
);

-- All terms ever published: a job follows those under which it was accepted.
CREATE TABLE IF NOT EXISTS offers (
    terms_hash text PRIMARY KEY,
    version bigint NOT NULL UNIQUE,
    effective_from_epoch bigint NOT NULL,
    document text NOT NULL
);

-- One row: how many were accepted and assigned, the last tick, the epoch, and since when silence means nothing.
CREATE TABLE IF NOT EXISTS counts (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    accepted bigint NOT NULL,
    assigned bigint NOT NULL,
    ticked_ms bigint NOT NULL,
    epoch bigint NOT NULL,
    paused_ms bigint
);

-- To tables of before, which knew only whether silence meant nothing.
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'counts'::regclass AND attname = 'paused' AND NOT attisdropped) THEN
        ALTER TABLE counts DROP COLUMN paused, ADD COLUMN paused_ms bigint;
        ALTER TABLE attempts ADD COLUMN forgiven boolean NOT NULL DEFAULT false;
    END IF;
END $$;
