-- What the registry knows. Only ever grows.

-- Each version of the pool's terms, as the operator signed it.
CREATE TABLE IF NOT EXISTS terms (
    version integer PRIMARY KEY,
    document text NOT NULL,
    stamp_ms bigint NOT NULL
);

-- `pending`: delegations that wait with their contributor. `revoked`: devices taken back before they were ever in.
CREATE TABLE IF NOT EXISTS contributors (
    address text PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('unknown', 'waiting', 'admitted', 'draining', 'left')),
    suspended boolean NOT NULL,
    devices text[] NOT NULL,
    pending jsonb NOT NULL,
    revoked text[] NOT NULL,
    since_ms bigint NOT NULL,
    nonce numeric NOT NULL,
    left_nonce numeric NOT NULL
);

-- A device has one contributor. `removed`: the reason why it counts no more.
CREATE TABLE IF NOT EXISTS devices (
    device text PRIMARY KEY,
    contributor text NOT NULL,
    delegation jsonb NOT NULL,
    removed text
);

-- Written with each heartbeat: a narrow row with room beside it.
CREATE TABLE IF NOT EXISTS pulses (
    device text PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('alive', 'suspect', 'gone')),
    seen_ms bigint NOT NULL,
    session text NOT NULL,
    sequence bigint NOT NULL,
    sessions text[] NOT NULL,
    running integer NOT NULL,
    partition integer NOT NULL,
    goodbye boolean NOT NULL
) WITH (fillfactor = 50);

-- A device's GPUs: the hardware that it shows, and how each was last announced.
CREATE TABLE IF NOT EXISTS cards (
    device text PRIMARY KEY,
    cards jsonb NOT NULL
);

CREATE TABLE IF NOT EXISTS gateways (
    gateway text PRIMARY KEY,
    key_hash text NOT NULL,
    expires_at timestamptz NOT NULL,
    suspended boolean NOT NULL
);

-- An order is carried out once: the nonces of an operator only rise, for each subject.
CREATE TABLE IF NOT EXISTS nonces (
    signer_and_subject text PRIMARY KEY,
    nonce numeric NOT NULL
);

-- What was last said of each capability.
CREATE TABLE IF NOT EXISTS advertised (
    capability text PRIMARY KEY,
    gpus integer NOT NULL,
    slots integer NOT NULL
);

-- The running epoch, and whether silence counts. Written with each tick.
CREATE TABLE IF NOT EXISTS running (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch bigint NOT NULL,
    excused_ms bigint NOT NULL,
    paused_ms bigint,
    judged_ms bigint NOT NULL,
    ticking boolean NOT NULL
) WITH (fillfactor = 50);
