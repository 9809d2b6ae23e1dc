-- The tables of the embedded pipeline. Times are ISO 8601 texts in UTC with milliseconds and Z.

-- One row a message: its latest state, which is also what the processor goes on from.
CREATE TABLE messages (
    seq               INTEGER PRIMARY KEY,  -- order of first sight
    message_id        TEXT NOT NULL UNIQUE,
    source            TEXT NOT NULL,
    provider          TEXT NOT NULL,
    channel           TEXT,
    dispatch_id       TEXT,
    external_send_id  TEXT,
    reference         TEXT,
    campaign_id       TEXT,
    status            TEXT NOT NULL,
    outcome           TEXT NOT NULL,
    conflict          INTEGER NOT NULL,     -- 1: its facts contradict each other
    overdue           INTEGER NOT NULL,
    reason            TEXT,
    bounce_class      TEXT,
    first_received_at TEXT NOT NULL,
    last_received_at  TEXT NOT NULL,
    requested_at      TEXT,
    sent_at           TEXT,
    processed_at      TEXT,
    delivered_at      TEXT,
    failed_at         TEXT,
    facts             TEXT NOT NULL,        -- JSON: an array a fact, in the order of the view `facts`
    duplicates        INTEGER NOT NULL,     -- postbacks folded away
    version           INTEGER NOT NULL,     -- postbacks folded in, repeats included
    repeated_until    TEXT NOT NULL         -- JSON; the processor's own
) STRICT;
CREATE INDEX messages_by_dispatch_id ON messages (dispatch_id) WHERE dispatch_id IS NOT NULL;
CREATE INDEX messages_by_external_send_id ON messages (external_send_id) WHERE external_send_id IS NOT NULL;
CREATE INDEX messages_by_status ON messages (status);

-- What every postback that added a fact changed. Rows point to their message by its number: an index
-- of neighbouring numbers touches a tenth of the pages that one of random ids would.
CREATE TABLE transition_log (
    seq             INTEGER PRIMARY KEY,
    message_seq     INTEGER NOT NULL,
    fact_id         TEXT NOT NULL,
    kind            TEXT NOT NULL,
    from_status     TEXT,
    status          TEXT NOT NULL,
    outcome         TEXT NOT NULL,
    provider_status TEXT NOT NULL,
    provider_time   TEXT,
    received_at     TEXT NOT NULL,
    reason          TEXT,
    bounce_class    TEXT,
    conflict        INTEGER NOT NULL,
    receipt_id      TEXT NOT NULL,
    version         INTEGER NOT NULL
) STRICT;
CREATE INDEX transition_log_by_message ON transition_log (message_seq);

-- The table for reading: one row for every applied postback.
CREATE VIEW transitions AS
SELECT t.seq, m.message_id || '-' || t.fact_id AS transition_id, t.kind, m.message_id, m.source, m.provider, m.channel,
       m.dispatch_id, m.external_send_id, m.reference, m.campaign_id, t.from_status, t.status, t.outcome,
       t.provider_status, t.provider_time, t.received_at, t.reason, t.bounce_class, t.conflict, t.receipt_id, t.version
FROM transition_log AS t JOIN messages AS m ON m.seq = t.message_seq;

-- One row a fact of every message.
CREATE VIEW facts AS
SELECT m.message_id, f.value ->> 0 AS fact_id, f.value ->> 1 AS status, f.value ->> 2 AS provider_status,
       f.value ->> 3 AS provider_time, f.value ->> 4 AS received_at, f.value ->> 5 AS reason,
       f.value ->> 6 AS bounce_class, f.value ->> 7 AS effect, f.value ->> 8 AS duplicates
FROM messages AS m, json_each(m.facts) AS f;

-- One row for every postback, where it lies in the raw log and what it did on arrival.
CREATE TABLE postbacks (
    position     INTEGER PRIMARY KEY,       -- place in the raw log
    receipt_id   TEXT NOT NULL,
    message_seq  INTEGER,                   -- NULL: a dead letter
    received_at  TEXT NOT NULL,
    content_type TEXT NOT NULL,
    effect       TEXT NOT NULL,             -- applied, duplicate or dead
    flags        TEXT NOT NULL              -- JSON array: what was odd and survived
) STRICT;
CREATE INDEX postbacks_by_message ON postbacks (message_seq) WHERE message_seq IS NOT NULL;

-- Further names under which a message is looked up: contact and form ids.
CREATE TABLE identifiers (
    identifier  TEXT NOT NULL,
    message_seq INTEGER NOT NULL,
    PRIMARY KEY (identifier, message_seq)
) STRICT, WITHOUT ROWID;

-- Bodies that were kept and not understood.
CREATE TABLE dead_letters (
    position           INTEGER PRIMARY KEY, -- place in the raw log
    dead_id            TEXT NOT NULL UNIQUE,
    source             TEXT NOT NULL,
    provider           TEXT NOT NULL,
    stage              TEXT NOT NULL,
    reason             TEXT NOT NULL,
    detail             TEXT NOT NULL,
    receipt_id         TEXT NOT NULL,
    received_at        TEXT NOT NULL,
    content_type       TEXT NOT NULL,
    content_encoding   TEXT NOT NULL,
    body               BLOB NOT NULL,
    retry_requested_at TEXT,                -- set by `sendtrace dead retry`, cleared when tried
    retried_at         TEXT                 -- set when a retry applied it
) STRICT;
CREATE INDEX dead_letters_to_retry ON dead_letters (retry_requested_at) WHERE retry_requested_at IS NOT NULL;

-- What became of the bodies of each source and hour; what was accepted is counted from the raw log.
CREATE TABLE audit (
    source     TEXT NOT NULL,
    hour       TEXT NOT NULL,
    applied    INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    dead       INTEGER NOT NULL,
    PRIMARY KEY (source, hour)
) STRICT, WITHOUT ROWID;

-- How far each partition of the raw log has been handled; written with everything above, or not at all.
CREATE TABLE progress (
    partition INTEGER PRIMARY KEY,
    position  INTEGER NOT NULL
) STRICT;
