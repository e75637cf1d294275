-- What rewards needs to decide the next thing. Everything here follows from the topics; amounts are in smallest units.

-- Small things that change together: the phase of the open epoch, what it began with, what has been said. JSON.
CREATE TABLE IF NOT EXISTS book (name text PRIMARY KEY, body text NOT NULL);

-- What has been read of each input since the last cut. numbers (the last of each outbox): JSON.
CREATE TABLE IF NOT EXISTS places (
    topic text,
    partition int,
    start_offset bigint NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= start_offset),
    records bigint NOT NULL,
    records_hash bytea NOT NULL,
    numbers text NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- The usage lines since the last cut: their tree, and what they come to.
CREATE TABLE IF NOT EXISTS line_trees (partition int PRIMARY KEY, size bigint NOT NULL, peaks bytea NOT NULL);
CREATE TABLE IF NOT EXISTS work (
    partition int,
    contributor text,
    wei numeric,
    per_units numeric,
    reason text,
    lines bigint NOT NULL,
    units numeric NOT NULL,
    PRIMARY KEY (partition, contributor, wei, per_units, reason)
);

-- A ticket is income once, for ever.
CREATE TABLE IF NOT EXISTS tickets (ticket text PRIMARY KEY);

-- The terms, version by version.
CREATE TABLE IF NOT EXISTS offers (
    record_offset bigint PRIMARY KEY,
    version int NOT NULL,
    effective_from_epoch bigint NOT NULL,
    terms_hash text NOT NULL,
    document text NOT NULL
);

-- One account a contributor and asset. unpaid (amount by epoch) and proofs: JSON.
CREATE TABLE IF NOT EXISTS accounts (
    contributor text,
    asset text,
    cumulative numeric NOT NULL CHECK (cumulative >= 0),
    ordered numeric NOT NULL CHECK (ordered >= 0),
    unpaid text NOT NULL,
    proofs text NOT NULL,
    PRIMARY KEY (contributor, asset)
);

-- Orders that are not final. A payout is ordered once.
CREATE TABLE IF NOT EXISTS payouts (payout text PRIMARY KEY, body text NOT NULL);

-- Batches that are not settled: what treasury planned, and what the chain says.
CREATE TABLE IF NOT EXISTS slots (slot bigint PRIMARY KEY, body text NOT NULL);

-- The ledger: debits above 0, and all accounts of an asset sum to zero.
CREATE TABLE IF NOT EXISTS balances (
    asset text,
    account text,
    amount numeric NOT NULL,
    PRIMARY KEY (asset, account)
);
