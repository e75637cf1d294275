-- One life of this machine's memory: under its signature, (session, sequence) names a claim for ever.
CREATE TABLE IF NOT EXISTS session (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    -- No number up to this one is given out again, whatever was killed.
    reserved INTEGER NOT NULL
) STRICT;

-- What must reach the pool: sent again, with the same bytes, until it is acknowledged.
-- A success stays until its receipt has come: the two together prove what was done.
CREATE TABLE IF NOT EXISTS claims (
    sequence INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    payload TEXT NOT NULL,
    payload_hash TEXT NOT NULL,
    signature TEXT NOT NULL,
    recorded_ms INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0 CHECK (acknowledged IN (0, 1))
) STRICT;
CREATE INDEX IF NOT EXISTS claims_by_hash ON claims (payload_hash);

-- An attempt ends once: an assignment that is repeated does not begin it again.
CREATE TABLE IF NOT EXISTS ended (
    lease TEXT PRIMARY KEY,
    outcome TEXT NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'declined', 'cancelled')),
    pixels INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS ended_by_time ON ended (ended_ms);

-- What the pool has countersigned: quantity at wei for each per_units.
CREATE TABLE IF NOT EXISTS receipts (
    line TEXT PRIMARY KEY,
    held INTEGER NOT NULL CHECK (held IN (0, 1)),
    quantity INTEGER NOT NULL,
    wei TEXT NOT NULL,
    per_units INTEGER NOT NULL
) STRICT;
