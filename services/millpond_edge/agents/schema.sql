-- How far the pool has each session of a device's memory: Welcome says it. Behind perhaps, never ahead, since it is
-- written after Kafka's acknowledgement. The truth is Kafka: what is sent again is the same item.
CREATE TABLE IF NOT EXISTS agent_sessions (
    device        text NOT NULL,
    session       text NOT NULL,
    last_accepted bigint NOT NULL CHECK (last_accepted > 0),
    accepted_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device, session)
);
CREATE INDEX IF NOT EXISTS agent_sessions_by_time ON agent_sessions (accepted_at);
