-- What treasury needs to decide the next thing. Everything here follows from the topics.

-- Small things that change together: what is on its way, what the chain's sums said, nonces, keys. JSON.
CREATE TABLE IF NOT EXISTS book (name text PRIMARY KEY, body text NOT NULL);

-- Orders that are not planned, and the reason that was last given. JSON.
CREATE TABLE IF NOT EXISTS waiting (payout text PRIMARY KEY, body text NOT NULL);

-- A payout is planned once, for ever.
CREATE TABLE IF NOT EXISTS planned (payout text PRIMARY KEY);

-- In wei, by recipient: what was planned and did not come back.
CREATE TABLE IF NOT EXISTS committed (recipient text PRIMARY KEY, amount numeric NOT NULL CHECK (amount >= 0));

-- The roots of the epochs whose checkpoint is the pool's.
CREATE TABLE IF NOT EXISTS roots (epoch bigint PRIMARY KEY, root text NOT NULL);

-- Epochs whose checkpoint is not checked yet. JSON.
CREATE TABLE IF NOT EXISTS closed (epoch bigint PRIMARY KEY, body text NOT NULL);
