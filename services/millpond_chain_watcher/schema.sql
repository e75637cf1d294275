-- How far the chain has been read, and what was said of it. Idempotent; only ever grows.

-- One row. `final`: everything up to it is said as final, and in the sums. `seen`: everything up to it is said as observed.
CREATE TABLE IF NOT EXISTS progress (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Whose sums these are: chain, Controller, orchestrator.
    watched text NOT NULL,
    final_number bigint NOT NULL,
    final_hash text NOT NULL,
    seen_number bigint NOT NULL,
    seen_hash text NOT NULL,
    -- Which contract has which name at the end of the final block.
    contracts jsonb NOT NULL,
    opening_wei numeric NOT NULL,
    income_wei numeric NOT NULL,
    withdrawn_wei numeric NOT NULL,
    -- Fees, stake and expectation of the snapshot that was published last, as JSON; null before the first.
    snapshot jsonb
);

-- What was said as observed, and not yet as final or orphaned.
CREATE TABLE IF NOT EXISTS sightings (
    item text PRIMARY KEY,
    topic text NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    event bytea NOT NULL
);

-- What is to be published: written with the progress it belongs to, taken out once Kafka has it.
CREATE TABLE IF NOT EXISTS unsent (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    event bytea NOT NULL,
    stamp_ms bigint NOT NULL
);
