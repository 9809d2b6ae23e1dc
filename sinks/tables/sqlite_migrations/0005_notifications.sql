-- Telling people of incidents: what each target is to be told, what was, and what became of it.

-- How far each target of the settings has read incident_changes. A new one begins at the end.
CREATE TABLE notification_targets (
    target   TEXT PRIMARY KEY,              -- its name in the settings
    next_seq INTEGER NOT NULL,              -- incident_changes before it were looked at
    since    TEXT NOT NULL                  -- when it was first seen in the settings
) STRICT, WITHOUT ROWID;

-- One row for every message that left for a target, or is about to.
CREATE TABLE notification_messages (
    message_id TEXT PRIMARY KEY,            -- the idempotency key, the same at every attempt
    target     TEXT NOT NULL,
    state      TEXT NOT NULL,               -- sending, delivered or parked
    notice     TEXT NOT NULL,               -- JSON: what it says, before it is put into the target's words
    made_at    TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    tried_at   TEXT,                        -- the last attempt
    next_at    TEXT,                        -- the next one, while state is sending
    settled_at TEXT,                        -- when it was delivered or parked
    answer     TEXT                         -- the target's last answer, or why there was none, in one line
) STRICT, WITHOUT ROWID;
CREATE INDEX notification_messages_by_target ON notification_messages (target, tried_at);
CREATE INDEX notification_messages_sending ON notification_messages (target) WHERE state = 'sending';

-- One row for every change of an incident and target it is for.
CREATE TABLE deliveries (
    target      TEXT NOT NULL,
    change_id   TEXT NOT NULL,
    seq         INTEGER NOT NULL,           -- of incident_changes
    incident_id TEXT NOT NULL,
    change      TEXT NOT NULL,              -- opened, escalated, resolved or reopened
    severity    TEXT NOT NULL,              -- of the incident, at this change
    state       TEXT NOT NULL,              -- waiting, delivered, parked or dropped
    reason      TEXT,                       -- why it was parked or dropped
    held        INTEGER NOT NULL,           -- 1 once a silence held it back
    taken_at    TEXT NOT NULL,              -- when it was seen to be for this target
    not_before  TEXT NOT NULL,              -- held back until then
    message_id  TEXT,                       -- the message that tells it
    settled_at  TEXT,                       -- when it came to its last state
    PRIMARY KEY (target, change_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_waiting ON deliveries (target, not_before) WHERE state = 'waiting' AND message_id IS NULL;
CREATE INDEX deliveries_by_incident ON deliveries (incident_id, seq);
CREATE INDEX deliveries_by_message ON deliveries (message_id) WHERE message_id IS NOT NULL;

-- The incidents a target knows to be open: their resolving is told there, of others it is not.
CREATE TABLE notification_told (
    target      TEXT NOT NULL,
    incident_id TEXT NOT NULL,
    counted     INTEGER NOT NULL,           -- 1 if it was only one of a number in a message
    told_at     TEXT NOT NULL,
    PRIMARY KEY (target, incident_id)
) STRICT, WITHOUT ROWID;
