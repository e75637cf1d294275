-- What must outlive an instance of edge while somebody joins. All of it is worth nothing after some minutes or an hour.

-- A machine that asks in. One row each: asked again, the earlier code counts no more.
CREATE TABLE IF NOT EXISTS enrolments (
    device        text PRIMARY KEY,
    code          text NOT NULL UNIQUE,
    expires_at_ms bigint NOT NULL,
    -- Who delegated it, and what was signed (JSON). Set once: a code is used once.
    contributor   text,
    delegation    text
);
CREATE INDEX IF NOT EXISTS enrolments_by_expiry ON enrolments (expires_at_ms);

-- A text given to a wallet to sign; once it is signed, a session. Nonce, text and signature go to the topic as they are.
CREATE TABLE IF NOT EXISTS sign_ins (
    nonce         text PRIMARY KEY,
    contributor   text NOT NULL,
    text          text NOT NULL,
    expires_at_ms bigint NOT NULL,
    -- Set once: a nonce is used once. Of the session's token only the hash is here.
    signature     text,
    token_hash    bytea UNIQUE
);
CREATE INDEX IF NOT EXISTS sign_ins_by_expiry ON sign_ins (expires_at_ms);
