-- Incidents: what they are computed from, what they are, and what people did about them.

-- One row for every message that failed: its transition into the failed outcome. The index is for readers by seq.
CREATE INDEX transition_log_failures ON transition_log (seq)
    WHERE outcome = 'failed'
      AND (from_status IS NULL OR from_status NOT IN ('undelivered', 'expired', 'rejected', 'aborted', 'bounced'));
CREATE VIEW failures AS
SELECT t.seq, m.message_id || '-' || t.fact_id AS transition_id, t.kind, m.message_id, m.source, m.provider, m.channel,
       m.dispatch_id, m.external_send_id, m.reference, m.campaign_id, t.from_status, t.status, t.outcome,
       t.provider_status, t.provider_time, t.received_at, t.reason, t.bounce_class, t.conflict, t.receipt_id, t.version
FROM transition_log AS t JOIN messages AS m ON m.seq = t.message_seq
WHERE t.outcome = 'failed'
  AND (t.from_status IS NULL OR t.from_status NOT IN ('undelivered', 'expired', 'rejected', 'aborted', 'bounced'));

-- Tallies of the embedded pipeline that the incident step has not read yet; on Kafka the topic has them.
CREATE TABLE tallies (
    seq    INTEGER PRIMARY KEY,
    record TEXT NOT NULL                    -- JSON, a Tally
) STRICT;

-- One row for every incident: its latest state.
CREATE TABLE incidents (
    incident_id        TEXT PRIMARY KEY,
    rule               TEXT NOT NULL,       -- name of the rule of the settings
    kind               TEXT NOT NULL,       -- count, rate or silence
    severity           TEXT NOT NULL,       -- info, warning, error or critical
    state              TEXT NOT NULL,       -- open or resolved
    source             TEXT,
    provider           TEXT,
    campaign_id        TEXT,
    class              TEXT,
    domain             TEXT,                -- receiving domain
    count              INTEGER NOT NULL,    -- of the present spell
    total              INTEGER,             -- what count is held against, where the rule is a rate
    first_seen         TEXT NOT NULL,
    last_seen          TEXT NOT NULL,
    opened_at          TEXT NOT NULL,
    resolved_at        TEXT,
    title              TEXT NOT NULL,
    advice             TEXT NOT NULL,
    samples            TEXT NOT NULL,       -- JSON array
    acknowledged_at    TEXT,                -- set by people
    silenced_until     TEXT,                -- set by people
    closed_by_hand_at  TEXT                 -- set by people: trouble before it counts no more
) STRICT, WITHOUT ROWID;
CREATE INDEX incidents_by_state ON incidents (state, last_seen);

-- Which messages an incident has as samples, so that a message shows its incidents.
CREATE TABLE incident_samples (
    message_id  TEXT NOT NULL,
    incident_id TEXT NOT NULL,
    PRIMARY KEY (message_id, incident_id)
) STRICT, WITHOUT ROWID;

-- What happened to incidents, in order; what people are told of.
CREATE TABLE incident_changes (
    seq          INTEGER PRIMARY KEY,
    change_id    TEXT NOT NULL UNIQUE,
    incident_id  TEXT NOT NULL,
    change       TEXT NOT NULL,             -- opened, updated, escalated, resolved or reopened
    at           TEXT NOT NULL,             -- event time
    record       TEXT NOT NULL,             -- JSON, an IncidentChange
    made_at      TEXT NOT NULL,             -- clock time
    published_at TEXT                       -- on Kafka: when topic alerts had it
) STRICT;
CREATE INDEX incident_changes_by_incident ON incident_changes (incident_id, seq);

-- What the incident step remembers of each group; nobody else's business.
CREATE TABLE incident_groups (
    group_id TEXT PRIMARY KEY,
    due_ms   INTEGER,                       -- event time at which it must be looked at though nothing came
    state    BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX incident_groups_due ON incident_groups (due_ms) WHERE due_ms IS NOT NULL;

-- How far the incident step is in event time. One row.
CREATE TABLE incident_clock (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    watermark_ms INTEGER NOT NULL
) STRICT;

-- "Do not tell anybody of incidents with this label until then"; one incident's own is in incidents.silenced_until.
CREATE TABLE silences (
    silence_id INTEGER PRIMARY KEY,
    label      TEXT NOT NULL,               -- severity, source, provider, campaign_id, class, domain or rule
    value      TEXT NOT NULL,
    until      TEXT NOT NULL,
    made_at    TEXT NOT NULL
) STRICT;
